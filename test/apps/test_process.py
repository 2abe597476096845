#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that make others, and their sockets (H40; programs/process.c says in which ways): test_process.py [kernel]."""
import os
import socket

import world
from world import ZS4, App, build, case, check, check_echo, connect, path, pattern, put, recv_all, together

PROGRAM = os.path.join(build, "test/apps/process")
world.start()


def process(*argv):
    return App(PROGRAM, *argv, ready="ready", ok=(0, -15))


def well(p):
    check("process:" not in p.errors() and "zstack:" not in p.errors(), p.errors())


def echoes(n=6, size=200000):
    together(n, lambda i: check_echo(connect(ZS4), pattern(size, i)))


@case
def exec_takes_sockets_along():
    """With an empty environment, to other numbers, with two of them for one socket."""
    with process("exec") as p:
        world.is_taken(7)
        check_echo(connect(ZS4), pattern(300000))
        echoes(1)
        check_echo(connect(ZS4), pattern(3000))
        world.is_taken(7)
        well(p)


def served(mode, *argv):
    with process(mode, *argv) as p:
        echoes()
        for i in range(3):
            check_echo(connect(ZS4), pattern(50000, i))
        well(p)


@case
def a_child_executes():
    served("child")


@case
def a_child_of_vfork_executes():
    served("vfork")


@case
def a_shell_executes():
    served("shell")


@case
def a_script_is_executed():
    served("script", put("serve.sh", "#!/bin/sh\nexec cat\n", 0o755))


@case
def posix_spawn_takes_what_its_actions_copy():
    served("spawn")


@case
def exec_that_fails_changes_nothing():
    served("fails")


@case
def exec_closes_what_is_close_on_exec():
    with process("closes") as p:
        first, other = connect(ZS4), connect(ZS4)
        check(other.recv(1) == b"", "a close-on-exec connection is open after exec")
        check_echo(first, pattern(100000))
        well(p)


@case
def flags_and_numbers_survive():
    with process("nonblock") as p:
        s = connect(ZS4)
        check(recv_all(s, 5) == b"ready", "no answer")
        check_echo(s, pattern(100000))
        echoes(1)
        well(p)


@case
def connections_are_passed_on_in_many_messages():
    with process("many") as p:
        for i in range(3):
            check_echo(connect(ZS4), pattern(100000, i))
        well(p)


@case
def a_connection_is_passed_on():
    """The sender closes it; a part may have been there before."""
    with process("pass") as p:
        first = connect(ZS4)
        first.sendall(pattern(5000))
        first.shutdown(socket.SHUT_WR)
        check(recv_all(first) == pattern(5000), "what was there before differs")
        for i in range(6):
            check_echo(connect(ZS4), pattern(200000, i))
        well(p)


@case
def a_listener_is_passed_on():
    with process("listener") as p:
        world.is_taken(7)
        for i in range(4):
            check_echo(connect(ZS4), pattern(100000, i))
        well(p)


@case
def what_is_lost_on_its_way_is_closed():
    with process("lost") as p:
        for _ in range(5):
            check(connect(ZS4).recv(1) == b"", "it is not closed")
        well(p)


@case
def system_calls_by_number():
    with process("numbers") as p:
        echoes()
        well(p)
        check(world.kernel or "no io_uring" in p.output(), p.output())


world.finish(60)
