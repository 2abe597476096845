#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The lists of names in src/preload agree: what libc.map exports is defined and known to `real`; what the library's
own code and the client's call of that goes past the hooks (--wrap), or is a hook_…() by name.

    test_names.py SOURCE_DIR BUILD_DIR
"""
import pathlib
import re
import subprocess
import sys

source, build = map(pathlib.Path, sys.argv[1:3])
preload = source / "src/preload"


def nm(*args):
    out = subprocess.run(["nm", *map(str, args)], check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return {line.split()[-1].split("@")[0] for line in out.stdout.splitlines() if len(line.split()) > 1}


mapped = set(re.findall(r"^\t\t(\w+);", (preload / "libc.map").read_text(), re.M))
real = set(re.findall(r"\bX\((\w+)\)", (preload / "real.h").read_text().split("#define REAL_CALLS")[1].split("struct real")[0]))
wrapped = set(re.findall(r"'(\w+)'", re.search(r"preload_wrapped = \[(.*?)\]", (preload / "meson.build").read_text(), re.S)[1]))
library = build / "src/preload/libzstack-preload.so.0"
bad = []


def agree(truth, what, names):
    if not truth:
        bad.append(f"{what}: {' '.join(sorted(names))}")


exported = {n for n in nm("-D", "--defined-only", library) if not n.startswith("__asan") and not n.startswith("__ubsan")}
agree(mapped <= exported, "in libc.map, but not defined", mapped - exported)
# Those that have no function of libc's behind them: made of others.
agree(wrapped <= real, "wrapped, but not real", wrapped - real)
objects = [*(build / "src/preload").rglob("*.o"), build / "src/client/libclient.a", build / "src/chan/libchan.a",
           build / "src/base/libbase.a"]
for o in objects:
    past = (nm("-u", o) & mapped) - wrapped
    agree(not past, f"{o.name} calls hooks that are not wrapped", past)
for line in bad:
    print(line)
print(f"{len(mapped)} hooks, {len(real)} real functions, {len(wrapped)} wrapped")
sys.exit(1 if bad else 0)
