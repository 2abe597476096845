#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""system() and popen() (issue 4; programs/command.c): the same as on the kernel, and with sockets: test_command.py
[kernel]."""
import os
import subprocess

import world
from world import ZS4, App, build, case, check, check_echo, connect, far, pattern

PROGRAM = os.path.join(build, "test/apps/command")
world.start()


def plain():
    p = subprocess.run([PROGRAM, "lines"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       env=world.clean_environment(), preexec_fn=world.go_far, timeout=60, check=False)
    check(p.returncode == 0, p.stdout)
    return p.stdout.decode().splitlines()


@case
def the_same_as_on_the_kernel():
    want = plain()
    got = far(PROGRAM, "lines").splitlines()
    for a, b in zip(want, got):
        check(a == b, f"the kernel: {a!r}, here: {b!r}")
    check(len(want) == len(got) and len(want) > 50, f"{len(want)} and {len(got)} lines: {got}")


def served(mode):
    def f():
        with App(PROGRAM, mode, ready="ready", ok=(0, -15)) as p:
            world.is_taken(7)
            for i in range(3):
                check_echo(connect(ZS4), pattern(300000, i))
            check("zstack:" not in p.errors() and p.alive(), p.errors())
    f.__name__ = f"{mode}_has_the_sockets"
    return f


for name in ("system", "read", "write"):
    case(served(name))

world.finish(60)
