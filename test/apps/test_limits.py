#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the library costs a program, and how a program does with it that may have little: test_limits.py."""
import os

import world
from world import PYTHON, case, check, far, put

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
    import subprocess
    plain = int(subprocess.run([PYTHON, "-c", 'print(next(x for x in open("/proc/self/status") if x[:6] == "VmData").split()[1])'],
                               stdout=subprocess.PIPE, env=world.clean_environment(), check=True).stdout)
    start, undecided, linked = map(int, limits("cost").split())
    for what, kb, most in (("loaded", start, 2), ("a socket", undecided, 2), ("attached, with a link", linked, 16)):
        check(kb - plain < most * MB, f"{what}: {(kb - plain) / MB:.1f} MB more than without the library")


@case
def many_numbers_sockets_and_sets():
    check(limits("many") == "well\n", "many")


@case
def without_memory_a_call_says_so():
    for what in ("DATA", "AS"):
        check(limits("exhaust", what) == "well\n", what)


world.finish()
