#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the library costs a program, and how a program does with it that may have little: test_limits.py."""
import os
import subprocess

import world
from world import PYTHON, ZS4, App, case, check, check_echo, connect, far, pattern, put

world.start(PYTHON)
HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = put("limits.py", open(os.path.join(HERE, "programs", "limits.py"), "rb").read())
MB = 1024  # of kB


def limits(*argv, **how):
    out = far(PYTHON, PROGRAM, *argv, **how)
    check("zstack:" not in out, out)
    return out


@case
def memory_is_charged_when_it_is_used():
    """docs/design/011, "What a process costs". The arena is a shared file, which is charged page by page."""
    plain = int(subprocess.run([PYTHON, "-c", 'print(next(x for x in open("/proc/self/status") if x[:6] == "VmData").split()[1])'],
                               stdout=subprocess.PIPE, env=world.clean_environment(), check=True).stdout)
    start, undecided, linked = map(int, limits("cost").split())
    # Python takes memory by the megabyte: now one more, now one less.
    for what, kb, most in (("loaded", start, 3), ("a socket", undecided, 3), ("attached, with a link", linked, 16)):
        check(kb - plain < most * MB, f"{what}: {(kb - plain) / MB:.1f} MB more than without the library")


@case
def many_numbers_sockets_and_sets():
    check(limits("many") == "well\n", "many")


@case
def without_memory_a_call_says_so():
    for what in ("DATA", "AS"):
        check(limits("exhaust", what) == "well\n", what)


@case
def without_memory_nothing_is_attached():
    out = far(PYTHON, PROGRAM, "denied", "AS", options=("-v",))
    said = [line for line in out.split("\n") if "zstack:" not in line]
    check(said[:2] == ["ENOMEM ENOMEM", "well"], out)
    for want in ("can't be used: Cannot allocate memory; its sockets get ENOMEM until that works",
                 "tcp bind 10.7.0.2:7406 (fd 3): no room: Cannot allocate memory", "tcp connect 10.7.0.2:7406 (fd 3): no room: "):
        check(want in out, f"{want}: {out}")


def few(limit):
    """How many it could open, and how many it did, twice."""
    out = far("sh", "-c", f"ulimit {limit}; exec {PYTHON} {PROGRAM} few")
    check("zstack:" not in out, out)
    return list(map(int, out.split()))


@case
def without_memory_the_next_service_is_found():
    with App(PYTHON, PROGRAM, "tight", ready="ready", ok=(0, -15)) as p:
        for _ in range(2):
            world.until("it accepts", lambda: p.alive() and world.accepts(7))
            check_echo(connect(ZS4), pattern(20000))
            world.replace_service()
        world.until("it accepts", lambda: p.alive() and world.accepts(7))
        check_echo(connect(ZS4), pattern(20000))
        check("zstack:" not in p.errors(), p.errors())


@case
def a_child_with_little_address_space_serves():
    """200 MB on two CPUs; each may be a core of a later service."""
    with App(PYTHON, PROGRAM, "forking", str(176 + 12 * os.cpu_count()), ready="ready", ok=(0, -15)) as p:
        for _ in range(3):
            check_echo(connect(ZS4), pattern(20000))
        check("zstack:" not in p.errors(), p.errors())


OWN = 16  # docs/design/011


@case
def few_numbers_are_all_the_programs():
    """The library's own lie beyond the soft limit."""
    for n in (64, 256):
        room, *got = few(f"-Sn {n}")
        check(got == [room, room], f"{n}: {got} of {room}")


@case
def where_the_hard_limit_is_as_low_it_has_all_but_few():
    for n in (64, 256):
        room, *got = few(f"-n {n}")
        check(min(got) >= room - OWN, f"{n}: {got} of {room}")


@case
def a_limit_that_leaves_none_is_named():
    out = far("sh", "-c", f"ulimit -n 8; exec {PYTHON} -c '" + """
import errno, socket
with socket.socket() as s:
    print(errno.errorcode[s.connect_ex(("10.7.0.2", 7407))])'""")
    check("raise RLIMIT_NOFILE (ulimit -n); its sockets get ENOBUFS" in out and out.endswith("ENOBUFS\n"), out)


world.finish()
