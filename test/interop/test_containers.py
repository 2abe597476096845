#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Containers on one node: network, mount and process namespaces of their own, and the service's socket mounted into each.
Programs in them attach, meet by same-node streams at the service's addresses (docs/design/013), and each container has a
loopback of its own.

    ┌ container: link_app ┐                                  ┌ container: link_app ┐
    │ /mnt/zstackd.sock ──┼──► zstackd's socket and memory ◄─┼── /mnt/zstackd.sock │
    └─────────────────────┘                                  └─────────────────────┘
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess

import peer
import service
from peer import ZS4, Net, Skip, build, case, check
from service import OTHER, USER, until, watched

peer.start()
service.install()
shutil.copy(os.path.join(build, "test", "interop", "link_app"), service.folder)
net = Net("af_packet")
SOCKET = "/mnt/zstackd.sock"
# Nothing of the host's /mnt is seen inside, but the socket.
SETUP = (f'mount -t tmpfs none /mnt && touch {SOCKET} && mount --bind "$1" {SOCKET} && ip link set lo up &&'
         "echo ready && exec sleep infinity")


class Inside(peer.Program):
    """A program in a container, and what it started."""

    def __init__(self, box, *argv, user=None, ready=None, stdin=None):
        self.launch("link_app", [*box.enter, *(service.as_user(user) if user else ()),
                                 os.path.join(service.folder, "link_app"), *map(str, argv)], ready, stdin=stdin,
                    env={**os.environ, "ZSTACK_SOCKET": SOCKET, "LD_LIBRARY_PATH": service.folder},
                    start_new_session=True)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __exit__(self, kind, value, trace):
        self.kill()


class Container(peer.Program):
    def __init__(self, s):
        self.launch("container", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh",
                                  "-c", SETUP, "container", s.path], "ready")
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
            self.first = int(f.read().split()[0])
        self.enter = ["nsenter", "-t", str(self.first), "--net", "--mount", "--pid"]

    def run(self, *args, rc=0, user=None, seconds=60):
        with Inside(self, *args, user=user) as a:
            got = a.wait(seconds)
            check(got == rc, f"link_app {args}: exit {got}: {a.output()}{a.errors()}")
            return a.output() + a.errors()

    def serve(self, *args, user=None):
        return Inside(self, *args, user=user, ready="listening")

    def kill(self):
        """All that is in it ends with its first process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.first, signal.SIGKILL)
        self.process.wait()

    def __exit__(self, kind, value, trace):
        self.kill()


@contextlib.contextmanager
def containers(*args):
    """A service, its watcher, and two containers; after them everything is as it was."""
    with watched(net, *args) as (s, w):
        start = w.levels()
        with Container(s) as a, Container(s) as b:
            yield s, a, b
        w.await_levels(start, 30)


def links(text):
    return int(re.findall(r"^links ([0-9]+) bad 0", text, re.M)[-1])


def tool(s, *args):
    return subprocess.run([os.path.join(build, "tools/zstack"), "--socket", s.path, *args], stdout=subprocess.PIPE,
                          text=True, check=True).stdout


@case
def programs_of_two_containers_meet_by_a_link():
    with containers() as (s, a, b), a.serve("echo", 80):
        check(links(b.run("talk", ZS4, 80, 4, 3000000)) == 1, "no link")
        with Inside(b, "hold", ZS4, 80, 1, ready="holding", stdin=subprocess.PIPE) as h:
            check(len(re.findall(r"^link ", tool(s, "ss"), re.M)) == 2, tool(s, "ss"))
            # As the host sees them: they are not number 1 and 2 of their containers.
            pids = {int(p) for p in re.findall(r"link_app +([0-9]+)", tool(s, "apps"))}
            check(len(pids) == 2 and all("link_app" in open(f"/proc/{p}/cmdline").read() for p in pids), tool(s, "apps"))
            h.process.stdin.close()
            check(h.wait(10) == 0, h.output())


@case
def an_address_of_the_service_is_there_once():
    """The service's addresses are the same in all containers: a port is one program's."""
    with containers() as (_, a, b), a.serve("echo", 80):
        out = b.run("echo", 80, rc=1)
        check("bind" in out, out)
        check("connect -111" in b.run("refused", ZS4, 81), "not refused")


@case
def loopback_stays_in_its_container():
    with containers() as (_, a, b), a.serve("echo", 80, "127.0.0.1"):
        check("connect -111" in b.run("refused", "127.0.0.1", 80), "the other's loopback was reached")
        check("connect -111" in b.run("refused", ZS4, 80), "loopback was reached from outside")
        check(links(a.run("talk", "127.0.0.1", 80, 2, 300000)) == 1, "its own was not")
        with b.serve("sink", 80, "127.0.0.1"):
            # Each its own: an echo here, there one that is silent.
            check(links(a.run("talk", "127.0.0.1", 80, 2, 300000)) == 1, "its own was not")
            check("connect 0" in b.run("refused", "127.0.0.1", 80), "its own was not")


@case
def a_wildcard_listens_at_its_own_loopback():
    with containers() as (_, a, b), a.serve("echo", 80):
        check(links(a.run("talk", "127.0.0.1", 80, 1, 300000)) == 1, "its own loopback")
        check("connect -111" in b.run("refused", "127.0.0.1", 80), "the other's loopback was reached")
        # So it is in nobody's way there.
        with b.serve("echo", 80, "127.0.0.1"):
            check(links(b.run("talk", "127.0.0.1", 80, 1, 300000)) == 1, "its own loopback")


@case
def users_are_kept_apart():
    """Who a program is says the kernel, in containers, too."""
    with containers("--allow", "root", "--allow", str(USER)) as (_, a, b), a.serve("echo", 8080, user=USER):
        check(links(b.run("talk", ZS4, 8080, 2, 300000, user=USER)) == 1, "no link")
        check(links(b.run("talk", ZS4, 8080, 2, 300000)) == 0, "a link between two domains")
        out = b.run("talk", ZS4, 8080, 1, 1000, user=OTHER, rc=1)
        check("denied" in out or "may not" in out or "not" in out, out)
        out = b.run("echo", 80, user=USER, rc=1)
        check("bind" in out, out)


@case
def a_container_that_is_killed_leaves_nothing():
    with containers() as (s, a, b), b.serve("echo", 80) as e:
        held = [Inside(a, "hold", ZS4, 80, 50, ready="holding", stdin=subprocess.PIPE) for _ in range(3)]
        a.kill()
        for h in held:
            h.kill()
        until("all that was in it is gone", lambda: tool(s, "apps").count("link_app") == 1)
        check(e.alive() and links(b.run("talk", ZS4, 80, 2, 300000)) == 1, "the other goes on")


peer.run(120)
