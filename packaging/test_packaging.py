#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Manual pages, completion and the example say what the programs say: test_packaging.py FOLDER ZSTACKD ZSTACK PAGE..."""
import pathlib
import re
import subprocess
import sys

folder, zstackd, zstack = sys.argv[1:4]
pages = {pathlib.Path(p).name: re.sub(r"\\f[BIRP]|\\", "", pathlib.Path(p).read_text()) for p in sys.argv[4:]}
completion = (pathlib.Path(folder) / "zstack.bash").read_text()


def said(program, args=("--help",), **kw):
    return subprocess.run([program, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw).stdout


options = re.findall(r"^  --([a-z-]+)", said(zstackd), re.M)
commands = re.findall(r"^  ([a-z]+) ", said(zstack), re.M)
assert len(options) > 10 and len(commands) == 10, (options, commands)
for o in options:
    assert f"--{o}" in completion, f"zstack.bash lacks --{o}"
    where = "zstackd.8" if o in ("allow", "version") else "zstackd.conf.5"
    assert re.search(rf"\b{re.escape(o)}\b", pages[where]), f"{where} lacks {o}"
for c in commands:
    assert re.search(rf"\b{c}\b", pages["zstack.1"]), f"zstack.1 lacks {c}"
    assert re.search(rf"\b{c}\b", completion), f"zstack.bash lacks {c}"
run_options = set(re.findall(r"--([a-z-]+)", said(zstack, ["run", "--help"])))
assert len(run_options) > 15, run_options
for o in run_options:
    assert f"--{o}" in completion.split("_zstack_run")[1] and f"--{o}" in pages["zstack.1"] or o == "help", o
for key in ("users", "bind", "memory", "sockets", "programs"):
    assert key in pages["zstackd.conf.5"], key

# Completion works in a shell.
script = f'. {folder}/zstack.bash; COMP_WORDS=({{}}); COMP_CWORD={{}}; {{}} || exit 1; echo "${{{{COMPREPLY[*]}}}}"'
for words, function, want in (("zstack ro", "_zstack", "route"), ("zstack ss pro", "_zstack", "program"),
                              ("zstack --json capture ic", "_zstack", "icmp icmp6"), ("zstackd --met", "_zstackd", "--metrics"),
                              ("zstack route add d", "_zstack", "default"), ("zstack run --ta", "_zstack", "--take"),
                              ("zstack run -v --take gate", "_zstack", "gateway"),
                              ("zstack run --embedded --vdev x --verbose unshar", "_zstack", "unshare")):
    got = said("bash", ["-c", script.format(words, len(words.split()) - 1, function)])
    got = " ".join(dict.fromkeys(got.split()))  # a program may be in two folders of PATH
    assert got == want, f"{words}: {got!r}"

# The example is understood up to its users and its interface, which are not there.
lines = [l for l in (pathlib.Path(folder) / "zstackd.conf").read_text().splitlines() if not l.startswith("users")]
tried = subprocess.run([zstackd, "-c", "/dev/stdin"], text=True, input="\n".join(lines + ["users = 0"]),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
assert tried.returncode == 1 and "/dev/stdin" not in tried.stdout, tried.stdout
print("packaging: ok")
