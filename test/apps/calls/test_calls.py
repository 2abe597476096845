#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The same program on the kernel and under libzstack-preload, case by case: what it prints must be the same,
but for the lines of differences.txt, each of which has a reason.

    ┌ this process: peer_services.py ┐  veth  ┌ calls, plain: the kernel has 10.7.0.2 ┐
    └────────────────────────────────┘        └ calls, with the library and zstackd   ┘
"""
import difflib
import os
import pathlib
import subprocess
import sys
import tempfile

import peer
import peer_services
from peer import Net, check

here = pathlib.Path(__file__).parent
program = os.path.join(peer.build, "test/apps/calls/calls")
library = os.path.abspath(os.path.join(peer.build, "src/preload/libzstack-preload.so.0"))
plain, ours = {}, {}


def known():
    """differences.txt: CASE: LINE OF THE KERNEL | LINE OF OURS, below a comment that gives the reason."""
    found = {}
    for line in (here / "differences.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            case, _, rest = line.partition(": ")
            want, _, got = rest.partition(" | ")
            found.setdefault(case, []).append((want, got))
    return found


def run(net, case, **env):
    try:
        p = subprocess.run([program, case], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, errors="replace", timeout=30, preexec_fn=net.go_far, env={**os.environ, **env})
    except subprocess.TimeoutExpired as e:
        return (e.stdout or b"").decode(errors="replace") + "did not end\n"
    return p.stdout + (f"ended with {p.returncode}\n" if p.returncode else "")


def explained(case, want, got):
    """Lines of want that differ as it is known they do become those of got."""
    lines = want.splitlines()
    for w, g in known().get(case, []):
        if w in lines and g in got.splitlines():
            lines[lines.index(w)] = g
    return lines


def compare(case):
    check("ended with" not in plain[case], f"on the kernel: {plain[case]}")
    want, got = explained(case, plain[case], ours[case]), ours[case].splitlines()
    diff = [d for d in difflib.unified_diff(want, got, "kernel", "ours", lineterm="", n=2)]
    check(not diff, "\n".join(diff))


def named(case):
    def f():
        compare(case)
    f.__name__ = case
    return f


peer.start()
net = Net()
peer_services.start()
names = sys.argv[1:] or subprocess.run([program], stdout=subprocess.PIPE, text=True).stdout.split()
net.far_sh(f"sysctl -qw net.ipv6.conf.zs0.accept_dad=0; sysctl -qw net.ipv6.conf.zs0.disable_ipv6=0;"
           f"ip addr add {peer.ZS4}/24 brd + dev zs0;"
           f"ip addr add {peer.ZS6}/64 dev zs0 nodad")
for name in names:
    plain[name] = run(net, name)
net.far_sh(f"ip addr del {peer.ZS4}/24 dev zs0; sysctl -qw net.ipv6.conf.zs0.disable_ipv6=1")
work = tempfile.TemporaryDirectory()
service = peer.Service(net, os.path.join(work.name, "zstackd.sock"))
for name in names:
    ours[name] = run(net, name, LD_PRELOAD=library, ZSTACK_SOCKET=service.path)
    peer.cases.append(named(name))
check(service.alive(), service.errors())


@peer.case
def the_service_ends_in_order():
    check(service.stop() == 0, service.errors())


peer.run(90)
