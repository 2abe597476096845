#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""zstackd under the restrictions of its systemd unit, as far as they can be had without systemd (sandbox.py): it serves
programs of other users, notices their death, shares a port with the kernel; and the restrictions are there."""
import os
import re
import shutil
import subprocess
import sys

import peer
import sandbox
import service
from peer import ZS4, Net, Skip, case, check, check_echo, connect, pattern
from service import USER, App, Service, Watcher, until

UNIT = os.path.join(peer.build, "packaging/zstackd.service")
if not os.path.exists(UNIT) or shutil.which("systemd-analyze") is None or shutil.which("cc") is None:
    print("1..0 # SKIP no unit file, systemd-analyze or compiler")
    sys.exit(0)
peer.start()
service.install()
net = Net("af_packet")
keys = sandbox.settings(UNIT)


def confined(*args):
    """/run/zstack is the tests' folder here."""
    return Service(net, *args, prefix=("env", f"SANDBOX_WRITABLE={service.folder}", sys.executable, sandbox.__file__, UNIT))


@case
def programs_of_other_users_are_served():
    with confined("--allow", "*") as s:
        w = Watcher(s)
        start = w.levels()
        with App(s, "echo", 7777, user=USER):
            check_echo(connect(ZS4, 7777), pattern(4 << 20))
        w.await_levels(start)
        w.close()


@case
def the_dead_of_other_users_are_noticed():
    """Also those whose descriptors are closed and who live: it reads what they have mapped."""
    with confined("--allow", "*") as s:
        w = Watcher(s)
        start = w.levels()
        a = App(s, "echo", 7777, user=USER)
        check_echo(connect(ZS4, 7777), pattern(1 << 20))
        a.kill()
        w.await_levels(start)
        w.close()


@case
def a_port_is_shared_with_the_kernel():
    with confined("--allow", "*", "--share", "zs9") as s, App(s, "echo", 7777, user=USER):
        check_echo(connect(ZS4, 7777), pattern(1 << 20))


@case
def it_has_what_the_unit_says_and_no_more():
    with confined("--allow", "*") as s:
        with open(f"/proc/{s.process.pid}/status") as f:
            status = dict(re.findall(r"(\w+):\s+(\S+)", f.read()))
        want = sum(1 << sandbox.CAPS.index(c[4:].lower()) for c in keys["CapabilityBoundingSet"][0].split())
        check(int(status["CapBnd"], 16) == want == int(status["CapEff"], 16), f"capabilities {status['CapEff']}")
        check(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", f"{status}")
        mounts = subprocess.run(["findmnt", "-N", str(s.process.pid), "-no", "OPTIONS", "/"], text=True,
                                stdout=subprocess.PIPE).stdout
        check(mounts.startswith("ro"), f"/ is {mounts}")


@case
def systemd_understands_the_unit():
    """verify looks for the program: the unit says where it would be installed."""
    text = open(UNIT).read().replace(re.search(r"ExecStart=(\S+)", open(UNIT).read())[1],
                                     os.path.join(peer.build, "src/svc/zstackd"))
    path = os.path.join(service.folder, "zstackd.service")
    with open(path, "w") as f:
        f.write(text)
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", path], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT).stdout
    mine = [l for l in said.splitlines() if "zstackd.service" in l]
    check(not mine, f"{mine}")
    rated = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=40", path], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if "nknown option" in rated.stdout or "unrecognized" in rated.stdout:
        raise Skip("this systemd-analyze rates no files")
    check(rated.returncode == 0, rated.stdout[-2000:])


peer.run(200)
