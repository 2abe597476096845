#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Has spin look at every interleaving of bells.pml: the protocol as it is must have no error, and with
any of the known mistakes it must have one (else the model proves nothing)."""
import os
import shutil
import subprocess
import sys
import tempfile

model = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bells.pml")
if shutil.which("spin") is None:
    print("spin is not installed (devtools/packages.txt)")
    sys.exit(77)


def errors(*flags):
    with tempfile.TemporaryDirectory() as d:
        for cmd in (["spin", "-a", *flags, model], ["gcc", "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c"]):
            subprocess.run(cmd, cwd=d, check=True, stdout=subprocess.DEVNULL)
        out = subprocess.run(["./pan", "-m100000"], cwd=d, check=True, text=True, stdout=subprocess.PIPE).stdout
    line = next(x for x in out.splitlines() if "errors:" in x)
    print(*flags, line)
    if "search depth too small" in out:
        sys.exit("the search was cut short")
    return int(line.rsplit("errors:", 1)[1])


bad = errors() != 0
for mistake in ("-DLOSE_1", "-DLOSE_2", "-DLOSE_3", "-DLOSE_4", "-DLOSE_5"):
    if errors(mistake) == 0:
        print(f"{mistake}: not found")
        bad = True
sys.exit(bad)
