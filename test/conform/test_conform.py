#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the scenarios with two programs on the kernel's sockets (loopback), then with two programs on
Z-Stack joined by memif, and compares what every call returned.

    test_conform.py ACTOR LIBRARY_DIR SCENARIO...

A scenario is a list of lines:

    A CALL ARGUMENTS     one actor makes a call; its answer is a line of the transcript
    A& CALL ARGUMENTS    the same, not waited for: the call blocks
    A?                   the answer to it
    # text               a comment
    ! text               the answer to the line before may differ, because text

Each scenario runs over IPv4 and, where it says "# v6 too", over IPv6. The wire is real and so are the
clocks, so scenarios wait for states and never look at times.
"""
import ctypes
import itertools
import os
import pathlib
import select
import subprocess
import sys
import tempfile

ADDRESSES = {"kernel": {4: ("127.0.0.1", "127.0.0.2"), 6: ("::1", "::1")},
             "zstack": {4: ("10.99.0.1", "10.99.0.2"), 6: ("fd99::1", "fd99::2")}}


class Actor:
    def __init__(self, args, env):
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  bufsize=1, env=env)

    def ready(self):
        # The stack has its own lines to say at the start.
        while True:
            line = self.p.stdout.readline()
            if line == "ready\n":
                return
            if line == "":
                sys.exit("an actor did not start")

    def ask(self, line):
        self.p.stdin.write(line + "\n")

    def answer(self):
        # A call that should have returned and hangs must not hang the test.
        if not select.select([self.p.stdout], [], [], 15)[0]:
            return "hangs"
        return self.p.stdout.readline().rstrip("\n") or "died"

    def end(self):
        try:
            self.p.stdin.close()
            self.p.wait(timeout=20)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.p.kill()
            self.p.wait()


def stack_options(role, own, directory):
    peer = "server" if role == 0 else "client"
    length = "/64" if ":" in own else "/24"
    return ["--vdev", f"net_memif0,role={peer},socket={directory}/memif,socket-abstract=no",
            "--addr", own + length, "--no-huge", "--mode", "thread", "--linger", "100"]


def start(actor, kind, version, directory):
    a, b = ADDRESSES[kind][version]
    env = dict(os.environ, LD_LIBRARY_PATH=sys.argv[2])
    actors = []
    for role, (own, peer) in enumerate([(a, b), (b, a)]):
        args = [actor, kind, own, peer]
        if kind == "zstack":
            args += stack_options(role, own, directory)
        actors.append(Actor(args, env))
        # The side that makes the socket must be first.
        actors[-1].ready()
    return {"A": actors[0], "B": actors[1]}


def warm_up(actors):
    """The link may come up after the stacks, and addresses are yet unresolved: datagrams of the
    scenario would be lost, which is allowed, but no news."""
    for who in actors.values():
        for call in ["socket warm tcp", "connect warm peer 1", "close warm"]:
            who.ask(call)
            who.answer()


def lines_of(scenario):
    for line in scenario.read_text().splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            yield line


def run(actor, scenario, kind, version):
    transcript = []
    with tempfile.TemporaryDirectory() as directory:
        actors = start(actor, kind, version, directory)
        warm_up(actors)
        for line in lines_of(scenario):
            if line.startswith("!"):
                transcript[-1] = (transcript[-1][0], None)
                continue
            who, call = actors[line[0]], line[2:].strip()
            if line[1] != "?":
                who.ask(call)
            if "hangs" in [r for _, r in transcript]:
                break
            transcript.append((line, "" if line[1] == "&" else who.answer()))
            if os.environ.get("CONFORM_VERBOSE"):
                print(kind, *transcript[-1], flush=True)
        for a in actors.values():
            a.end()
    return transcript


def same_host(transcript):
    """Loopback has one IPv6 address: there nobody can tell the two ends apart."""
    return [(l, r and r.replace("own:", "host:").replace("peer:", "host:")) for l, r in transcript]


def compare(scenario, version, kernel, zstack):
    bad = 0
    if version == 6:
        kernel, zstack = same_host(kernel), same_host(zstack)
    for (line, want), (_, got) in itertools.zip_longest(kernel, zstack, fillvalue=("", "nothing")):
        if want == got:
            continue
        bad += 1
        print(f"{scenario.name} IPv{version}: {line}\n    kernel: {want}\n    zstack: {got}")
    return bad


def own_network():
    """The kernel's side has ports of its own where that is possible (as root)."""
    libc = ctypes.CDLL(None)
    if os.geteuid() == 0 and libc.unshare(0x40000000) == 0:  # CLONE_NEWNET
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def main():
    own_network()
    bad = calls = 0
    for path in sys.argv[3:]:
        scenario = pathlib.Path(path)
        for version in [4, 6] if "# v6 too" in scenario.read_text() else [4]:
            kernel = run(sys.argv[1], scenario, "kernel", version)
            zstack = run(sys.argv[1], scenario, "zstack", version)
            bad += compare(scenario, version, kernel, zstack)
            calls += len(kernel)
    print(f"{calls} calls compared, {bad} differ")
    return 1 if bad else 0


sys.exit(main())
