#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Connections in programs that can't load the library (docs/design/011, 12): a server under zstack run gives them to
static and to setuid programs, as inetd does: test_relay.py [kernel]."""
import os
import shutil
import signal
import socket
import struct

import world
from world import ZS4, App, build, case, check, check_asleep, check_echo, connect, path, pattern, recv_all, send_until_full, sh, together, until

PROGRAM = os.path.join(build, "test/apps/process")
STATIC = os.path.join(build, "test/apps/relay")
LARGE = pattern(10 << 20)
world.start()


def processes(*argv):
    """Numbers of those whose command line begins so."""
    out = sh("ps -e -o pid=,args=")
    return [int(line.split()[0]) for line in out.splitlines() if line.split()[1:len(argv) + 1] == list(argv)]


def relays():
    """Of this test: other tests may have some, too."""
    found = []
    for pid in processes("zstack-relay"):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if world.socket_path.encode() in f.read():
                    found.append(pid)
        except OSError:
            pass
    return found


def sockets():
    """Connections that somebody has."""
    out = sh(f"{world.tool} --socket {world.socket_path} ss -t")
    return [line for line in out.splitlines()[1:] if line and "TIME-WAIT" not in line]


class Served:
    """A server that gives each connection to a program; behind it nothing is left."""

    def __init__(self, *argv, mode="run"):
        self.argv, self.mode = argv, mode

    def __enter__(self):
        self.app = App(PROGRAM, self.mode, *self.argv, ready="ready", ok=(0, -15))
        world.is_taken(7)
        return self.app

    def __exit__(self, kind, value, trace):
        with self.app:
            if kind is None:
                check("process:" not in self.app.errors() and self.app.alive(), self.app.errors())
                check_echo_possible(self)
        if kind is None and not world.kernel:
            until("the relays end", lambda: not relays())


def check_echo_possible(served):
    """The server goes on."""
    if "echo" in served.argv or "cat" in served.argv:
        check_echo(connect(ZS4), pattern(1000))


@case
def a_static_program_echoes():
    with Served(STATIC, "echo"):
        check_echo(connect(ZS4), LARGE)
        together(6, lambda i: check_echo(connect(ZS4), pattern(200000, i)))


@case
def busybox_echoes():
    if shutil.which("busybox") is None:
        raise world.Skip("busybox-static is not installed")
    with Served("busybox", "cat"):
        check_echo(connect(ZS4), pattern(500000))


@case
def posix_spawn_starts_it():
    with Served(STATIC, "echo", mode="spawned"):
        check_echo(connect(ZS4), pattern(500000))


@case
def a_script_of_a_static_interpreter():
    script = world.put("script", f"#!{STATIC} echo\n", 0o755)
    with Served(script):
        check_echo(connect(ZS4), pattern(100000))


@case
def a_setuid_program():
    """Its dynamic linker loads nothing into it."""
    setuid = path("cat")
    shutil.copy("/bin/cat", setuid)
    shutil.chown(setuid, world.USER)
    os.chmod(setuid, 0o4755)
    with Served(setuid):
        check_echo(connect(ZS4), pattern(300000))


@case
def it_ends_its_writing_first():
    out = path("half")
    with Served(STATIC, "half", out):
        s = connect(ZS4)
        check(s.recv(1) == b"", "no end")
        s.sendall(LARGE)
        s.close()
        until("it read all", lambda: os.path.exists(out) and open(out).read() == str(len(LARGE)))


@case
def it_speaks_first():
    with Served(STATIC, "server"):
        s = connect(ZS4)
        check(recv_all(s) == b"hello", "something else came")


@case
def it_blocks():
    with Served(STATIC, "blocks"):
        check(recv_all(connect(ZS4)) == b"1", "it does not")


@case
def what_it_does_not_read_is_a_reset():
    with Served(STATIC, "unread"):
        s = connect(ZS4)
        s.sendall(b"x" * 1000)
        try:
            got = recv_all(s)
            check(got == b"no" and False, "it ended in order")
        except ConnectionResetError:
            pass


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


@case
def the_peer_resets():
    """A reader sees an end, or ECONNRESET; a writer gets an error."""
    out = path("errors")
    with Served(STATIC, "errors", out):
        s = connect(ZS4)
        s.recv(100000)
        reset(s)
        until("it was told", lambda: os.path.exists(out) and open(out).read() in ("EPIPE", "ECONNRESET"))
    with Served(STATIC, "echo"):
        s = connect(ZS4)
        s.sendall(b"x")
        check(s.recv(1) == b"x", "no echo")
        reset(s)
        until("it ends", lambda: not processes(STATIC, "echo"))


@case
def it_is_killed():
    with Served(STATIC, "sink"):
        s = connect(ZS4)
        pid = until("it runs", lambda: processes(STATIC, "sink"))
        os.kill(pid[0], signal.SIGKILL)
        check(s.recv(1) == b"", "no end")


@case
def the_relay_is_killed():
    """The peer and the program see an end, and the server goes on."""
    if world.kernel:
        raise world.Skip("there is none")
    with Served(STATIC, "echo"):
        s = connect(ZS4)
        s.sendall(b"x")
        check(s.recv(1) == b"x", "no echo")
        for pid in relays():
            os.kill(pid, signal.SIGKILL)
        try:
            check(s.recv(1) == b"", "no end")
        except ConnectionResetError:
            pass
        until("it ends", lambda: not processes(STATIC, "echo"))


@case
def a_full_program_stops_the_peer():
    """What nobody reads is not collected without end; and it is there when it is wanted."""
    with Served(STATIC, "sink"):
        s = connect(ZS4, timeout=1)
        send_until_full(s, 32 << 20)
        if not world.kernel:
            check_asleep(relays(), "the relay")
        s.close()
        for p in processes(STATIC, "sink"):
            os.kill(p, signal.SIGKILL)


@case
def an_exec_that_fails_changes_nothing():
    """It looks like a static program, but can't be started: not a byte was taken from the connection."""
    broken = path("broken")
    with open(STATIC, "rb") as f:
        data = f.read()
    world.put("broken", data[:56] + bytes(2) + data[58:], 0o755)  # no program headers: ENOEXEC
    with Served(broken, "echo", mode="tried"):
        s = connect(ZS4)
        s.sendall(b"first")
        check(recv_all(s, 5) == b"first", "something else came")
        check_echo(s, pattern(200000))


@case
def nothing_is_left():
    if world.kernel:
        raise world.Skip("of what?")
    until("all sockets are gone", lambda: not sockets())


world.finish(60)
