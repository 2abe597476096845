#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Loopback under zstack run: between two programs of ours same-node streams, else the kernel's, which listens as well
(programs/loopback.py): test_loopback.py [kernel]."""
import contextlib
import errno
import json
import os
import subprocess

import world
from world import PYTHON, ZS4, App, Failed, case, check, put, sh, until

world.start("python3")
HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT = put("loopback.py", open(os.path.join(HERE, "programs", "loopback.py"), "rb").read())
REFUSED, IN_USE = f"errno {errno.ECONNREFUSED}\n", f"errno {errno.EADDRINUSE}"
PLAIN = ["env"]  # on the kernel, beside the others
# A network namespace of its own, with the service's socket in it.
APART = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]


def serve(addr, port, **how):
    return App(PYTHON, SCRIPT, "serve", addr, port, ready="listening", ok=(0, -15), **how)


def ask(addr, port, *before, ours=True, **how):
    line = [*before, PYTHON, SCRIPT, "ask", addr, port]
    return world.far(*line, **how) if ours else world.net.far_sh(" ".join(map(str, line)))


@contextlib.contextmanager
def held(addr, port, **how):
    """A connection that stays."""
    with App(PYTHON, SCRIPT, "hold", addr, port, ready="same", stdin=subprocess.PIPE, **how) as a:
        yield a
        a.process.stdin.close()
        check(a.wait(20) == 0, a.errors())


def streams(port):
    """Connections to that port at loopback which zstackd knows, and those of them that go by links."""
    out = sh(f"{world.tool} --json --socket {world.socket_path} ss -a")
    all_of_them = [s for s in map(json.loads, out.splitlines())
                   if s["state"] == "ESTABLISHED" and port in (s["local_port"], s["peer_port"])]
    return len(all_of_them), sum("link" in s for s in all_of_them)


def is_same_node(port):
    if not world.kernel:
        until(f"both ends of a link at port {port}", lambda: streams(port) == (2, 2))


def is_the_kernels(port):
    if not world.kernel:
        check(streams(port) == (0, 0), f"the service has connections to port {port}")


@case
def two_programs_meet_by_a_link():
    for port, (at, to) in enumerate([("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"),
                                     ("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")], 7200):
        with serve(at, port) as s, held(to, port) as c:
            check(f"same {to} {to}" in c.output(), c.output())
            check(("from ::ffff:" if ":" in at and "." in to else "from ") + to in s.output(), s.output())
            is_same_node(port)


@case
def the_kernels_programs_reach_it_too():
    for port, (at, to) in enumerate([("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("0.0.0.0", "127.0.0.1")], 7210):
        with serve(at, port) as s, held(to, port, line=PLAIN) as c:
            check(f"same {to} {to}" in c.output() and f"from {to}" in s.output(), c.output())
            is_the_kernels(port)
            check(ask(to, port).startswith("same"), "ours beside it")


@case
def what_listens_in_the_kernel_alone_is_reached():
    with serve("127.0.0.1", 7220, line=PLAIN) as s, held("127.0.0.1", 7220):
        check("from 127.0.0.1" in s.output(), s.output())
        is_the_kernels(7220)
    check(ask("127.0.0.1", 7220) == REFUSED and ask("::1", 7220) == REFUSED, "nobody listens")


@case
def another_address_is_another_listener():
    with serve("127.0.0.1", 7230), serve("127.0.0.2", 7230, line=PLAIN) as plain:
        check(ask("127.0.0.2", 7230).startswith("same") and "from" in plain.output(), "the kernel's")
        check(ask("127.0.0.3", 7230) == REFUSED and ask("::1", 7230) == REFUSED, "nobody listens")
        check(world.kernel or ask(ZS4, 7230) == REFUSED, "loopback is not the stack's address")


@case
def a_port_is_one_programs():
    for first, second in ((None, PLAIN), (PLAIN, None), (None, None)):
        for at in ("127.0.0.1", "0.0.0.0"):
            with serve(at, 7240, line=first):
                with contextlib.suppress(Failed), serve("127.0.0.1", 7240, line=second):
                    raise AssertionError(f"{first}, {second}: both have {at}")
    with serve("127.0.0.1", 0) as a, serve("127.0.0.1", 0) as b:
        ports = [int(s.output().split()[2]) for s in (a, b)]
        check(len(set(ports)) == 2 and all(ask("127.0.0.1", p).startswith("same") for p in ports), ports)


@case
def it_can_be_switched_off():
    if world.kernel:
        raise world.Skip("an option of zstack run")
    off = ("--no-loopback",)
    with serve("127.0.0.1", 7250, options=off) as s, held("127.0.0.1", 7250):
        check("from 127.0.0.1" in s.output(), s.output())
        is_the_kernels(7250)
    with serve("127.0.0.1", 7251), held("127.0.0.1", 7251, options=off):
        is_the_kernels(7251)
    with serve("127.0.0.1", 7252, options=("--leave", "127.0.0.0/8")), held("127.0.0.1", 7252):
        is_the_kernels(7252)
    with serve("127.0.0.1", 7253), held("127.0.0.1", 7253, options=("-v",)) as c:
        check("tcp connect 127.0.0.1:7253" in c.errors() and "taken: loopback to one of ours" in c.errors(), c.errors())


@case
def namespaces_have_a_loopback_each():
    if world.kernel:
        raise world.Skip("is how Linux does it")
    with serve("127.0.0.1", 7260) as here:
        check(ask("127.0.0.1", 7260, *APART) == REFUSED, "the other's loopback was reached")
        there = App(*world.wrapped([PYTHON, SCRIPT, "serve", "127.0.0.1", 7260]), ready="listening", line=APART, ok=(0, -15))
        with there:
            with held("127.0.0.1", 7260):
                is_same_node(7260)
            check(here.output().count("from") == 1 and "from" not in there.output(), there.output())
            into = ["nsenter", "-t", str(there.process.pid), "--net"]
            out = world.net.far_sh(" ".join(into + world.wrapped([PYTHON, SCRIPT, "ask", "127.0.0.1", 7260])))
            check(out.startswith("same") and there.output().count("from") == 1, out + there.output())
            check(here.output().count("from") == 1, here.output())


@case
def the_service_goes_and_the_kernel_stays():
    if world.kernel:
        raise world.Skip("there is no service")
    path = world.path("second.sock")
    run = [world.tool, "run", "--service", path, "--"]
    # Without ports: it is asked for loopback alone.
    service = world.peer.Service(world.net, path, "--allow", "*", vdev="net_ring0")
    with App(PYTHON, SCRIPT, "serve", "127.0.0.1", 7270, ready="listening", ok=(0, -15), line=run) as s:
        check(world.far(PYTHON, SCRIPT, "ask", "127.0.0.1", 7270).startswith("same"), "from another service's program")
        service.process.kill()
        service.process.wait()
        check(ask("127.0.0.1", 7270, ours=False).startswith("same"), "from the kernel's")
        check(s.output().count("from") == 2, s.output())


world.finish()
