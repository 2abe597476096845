#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Installs into a directory of its own, builds a program against what is there (pkg-config, C and
C++) and runs it; then checks that libzstack exports the functions of its headers, and nothing else.

    test_install.py BUILD_DIR SANITIZERS C_COMPILER... -- C++_COMPILER...
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

build, sanitize = sys.argv[1], sys.argv[2]
split = sys.argv.index("--")
compilers = {"c": sys.argv[3:split], "c++": sys.argv[split + 1:]}
here = pathlib.Path(__file__).parent


def run(args, **kw):
    return subprocess.run(args, check=True, text=True, stdout=subprocess.PIPE, **kw).stdout


def declared(include):
    text = "".join(h.read_text() for h in include.glob("*.h"))
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return set(re.findall(r"\b(zs_\w+)\(", text))


def exported(lib):
    lines = run(["nm", "-D", "--defined-only", lib]).splitlines()
    return {l.split()[2].split("@")[0] for l in lines if l.split()[1] != "A"}


with tempfile.TemporaryDirectory() as root:
    run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", root])
    pc = next(pathlib.Path(root).rglob("zstack.pc"))
    lib = next(pathlib.Path(root).rglob("libzstack.so"))
    env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=root,
               LD_LIBRARY_PATH=str(lib.parent))
    flags = run(["pkg-config", "--cflags", "--libs", "zstack"], env=env).split()
    extra = [] if sanitize == "none" else ["-fsanitize=" + sanitize]
    for lang, cc in compilers.items():
        exe = f"{root}/program"
        run(cc + ["-x", lang, "-Wall", "-Wextra", "-Werror", "-pedantic", str(here / "program.c"),
                  "-x", "none", "-o", exe] + extra + flags)
        out = run([exe], env=env)
        assert out.count("\n") == 1, out
        print(f"{lang}: {out}", end="")
    soname = run(["readelf", "-d", str(lib)])
    assert "[libzstack.so.0]" in soname
    # libc, and what a sanitizer adds: never DPDK.
    needed = re.findall(r"NEEDED.*\[(.*)\]", soname)
    assert not [n for n in needed if "rte" in n or "zstack" in n], needed
    want = declared(next(pathlib.Path(root).rglob("zstack.h")).parent)
    have = exported(lib)
    have -= {"ZSTACK_0"}
    if sanitize != "none":
        have = {s for s in have if s.startswith("zs_")}
    assert want == have, f"only declared: {want - have}; only exported: {have - want}"
    print(f"{len(have)} symbols")
