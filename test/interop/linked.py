# SPDX-License-Identifier: BSD-3-Clause
"""Programs of one service that have something to do with one another: what their tests have in common."""
import json
import os
import re
import shutil
import subprocess

import service
from peer import build, check
from service import App


def install(program):
    service.install()
    shutil.copy(os.path.join(build, "test", "interop", program), service.folder)


def programs(name):
    """To start that program; to run it to its end and have what it said; to start it as a server."""

    def start(s, *args, ready=None, **how):
        return App(s, name, *args, ready=ready, **how)

    def run(s, *args, seconds=60, rc=0, **how):
        a = start(s, *args, **how)
        got = a.wait(seconds)
        check(got == rc, f"{name} {args}: exit {got}: {a.output()}{a.errors()}")
        return a.output()

    def server(s, *args, **how):
        return start(s, *args, ready="listening", **how)

    return start, run, server


def one_is_killed(rnd, server, clients):
    """Any of them, then the others. Who is left learns of its server's end, and ends."""
    first, *rest = rnd.sample([server, *clients], 1 + len(clients))
    first.kill()
    if first is server:
        for p in rest:
            rc = p.wait(20)
            check(rc == 1, f"{rc}: {p.output()}{p.errors()}")
    for p in rest:
        p.kill()


def numbers(text):
    """Of the last report."""
    last = [line for line in text.split("\n") if line.startswith("links ")][-1]
    return {m[1]: int(m[2]) for m in re.finditer(r"([a-z_]+) ([0-9]+)", last)}


def sockets(s):
    out = subprocess.run([os.path.join(build, "tools/zstack"), "--json", "--socket", s.path, "ss", "-a"],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    check(not out.startswith("zstack"), out)
    return [json.loads(line) for line in out.splitlines()]
