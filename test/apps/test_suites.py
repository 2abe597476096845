#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The tests of Python's own suite (Debian's libpython3.11-testsuite) as a measure of how the kernel behaves: each is
run plain and under zstack run, and must have the same outcome. Where it has not, suites.txt says why. Twice: between
addresses of the stack's, which the kernel has in the plain run; and with loopback, as they were written, where TCP is
the stack's when both ends are the program's, and the rest the kernel's. test_suites.py [only=CASE]"""
import os
import re

import world
from world import PYTHON, ZS4, ZS6, Skip, case, check, far, path, put, sh

world.start(PYTHON)
HERE = os.path.dirname(os.path.abspath(__file__))
suite = put("suite.py", open(os.path.join(HERE, "programs", "suite.py"), "rb").read())
ADDRESSES = ("-4", ZS4, "-6", ZS6)


def known():
    """Differences that have a reason: test -> (outcome plain, outcome here)."""
    found = {}
    with open(os.path.join(HERE, "suites.txt")) as f:
        for l in f:
            if l.strip() and not l.startswith("#"):
                where, name, plain, here = l.split(None, 4)[:4]
                found[where, name] = plain, here
    return found


KNOWN = known()


def outcomes(out, said):
    with open(out) as f:
        lines = f.read().splitlines()
    check(lines and lines[-1] == "# end", "it did not come to its end: " + "\n".join(lines[-25:]) + said[-1500:])
    return dict(l.split() for l in lines if not l.startswith("#")), lines


def why(lines, name):
    """What was printed about a test that failed."""
    at = next((n for n, l in enumerate(lines) if l.startswith(name + " ")), 0)
    end = next((n for n, l in enumerate(lines[at + 1:], at + 1) if not l.startswith("# ") or l.startswith("# test.")), at)
    return "\n".join(lines[at + 1:end][-6:])


def plain_net():
    """A namespace of its own in which the kernel has the addresses."""
    if not hasattr(plain_net, "net"):
        there = plain_net.net = object.__new__(world.peer.Net)
        there.link, there.far = "none", world.peer.new_namespace()
        there.far_sh(f"ip link set lo up; ip addr add {ZS4}/24 dev lo; ip addr add {ZS6}/64 dev lo nodad")
    return plain_net.net


def plainly(*argv):
    ours, world.net, world.kernel = world.net, plain_net(), True
    try:
        return far(*argv, ok=False, timeout=400)
    finally:
        world.net, world.kernel = ours, False


def compare(where, addresses, *modules):
    if sh(f"{PYTHON} -c 'import test.test_socket'; echo $?", ok=False).strip()[-1] != "0":
        raise Skip("libpython3.11-testsuite is not installed (devtools/packages.txt)")
    argv = (PYTHON, suite, path("out"), *addresses, *modules)
    plain, _ = outcomes(path("out"), plainly(*argv))
    os.unlink(path("out"))
    here, lines = outcomes(path("out"), far(*argv, ok=False, timeout=400))
    check(plain.keys() == here.keys(), f"not the same tests: {sorted(plain.keys() ^ here.keys())[:10]}")
    check(list(plain.values()).count("ok") > len(plain) / 2, f"most are not ok in the plain run: {len(plain)}")
    bad = []
    for name in plain:
        if (plain[name], here[name]) != KNOWN.get((where, name), (plain[name],) * 2):
            bad.append(f"{where} {name} {plain[name]} {here[name]}\n{why(lines, name)}")
    check(not bad, f"{len(bad)} of {len(plain)} differ:\n" + "\n".join(bad[:12]))
    print(f"# {where}: {len(plain)} tests alike, {list(here.values()).count('ok')} of them ok")


@case
def sockets():
    compare("stack", ADDRESSES, "test.test_socket")


@case
def readiness():
    compare("stack", ADDRESSES, "test.test_select", "test.test_poll", "test.test_epoll", "test.test_selectors")


@case
def servers():
    compare("stack", ADDRESSES, "test.test_socketserver", "test.test_asyncore", "test.test_httpservers", "test.test_xmlrpc",
            "test.test_telnetlib")


@case
def asyncio():
    compare("stack", ADDRESSES, *(f"test.test_asyncio.test_{m}" for m in (
        "streams", "sock_lowlevel", "server", "events", "unix_events", "selector_events", "sslproto", "base_events")))


@case
def asyncio_files():
    compare("stack", ADDRESSES, "test.test_asyncio.test_sendfile")


@case
def loopback():
    compare("loopback", (), "test.test_socket", "test.test_select", "test.test_poll", "test.test_epoll", "test.test_selectors")


world.finish(900)
