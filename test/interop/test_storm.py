#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""H31: programs attach and are killed at random moments, over and over, while others transfer data whose hashes are
checked. In the end every count is where it was. ZS_LONG=1: thousands."""
import contextlib
import os
import random
import shutil
import socket
import subprocess
import threading
import time

import peer
import service
from peer import ZS4, ZS6, Failed, Net, case, check, check_echo, connect, digest, echo, pattern
from service import App, until, watched

peer.start()
service.install()
net = Net("af_packet")
ROUNDS = 3000 if os.environ.get("ZS_LONG") else 300


class Transfers:
    """Echoed data in the background, one connection after the other."""

    def __init__(self, *ends):
        self.done, self.bad, self.over, self.slowest = 0, [], False, 0.0
        self.threads = [threading.Thread(target=self.run, args=e) for e in ends]
        for t in self.threads:
            t.start()

    def run(self, addr, port):
        data = pattern(300000, port)
        want = digest(data)
        while not self.over and not self.bad:
            begin = time.monotonic()
            try:
                s = connect(addr, port, timeout=20)
                check(digest(echo(s, data)) == want, "the bytes that came back differ")
                s.close()
            except (OSError, Failed) as e:
                self.bad.append(f"{addr}:{port}: {e!r}")
            self.done += 1
            self.slowest = max(self.slowest, time.monotonic() - begin)

    def end(self):
        self.over = True
        for t in self.threads:
            t.join()
        check(not self.bad, f"a transfer was disturbed: {self.bad[:2]}")
        print(f"# {self.done} transfers meanwhile, slowest {self.slowest:.2f} s")
        check(self.done > 10, f"{self.done} transfers")


def victim(s, rnd):
    """A program that is killed at any moment, with connections in any state."""
    port = rnd.choice((5001, 5002, 5003))
    name, *args = rnd.choice((("echo", port), ("udp_echo", port), ("http", os.path.join(service.folder, "www"), port),
                              ("proxy", port, peer.LINUX4, 9), ("app", "start", "hoard", port),
                              ("app", "start", "sockets", 1000, "wait", 60), ("client", peer.LINUX4, 9)))
    p = subprocess.Popen([os.path.join(service.folder, name), *map(str, args)], env=service.environment(s),
                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    opened = []
    time.sleep(rnd.choice((0, rnd.random() * 0.005, rnd.random() * 0.03, rnd.random() * 0.1)))
    for _ in range(rnd.randrange(6)):
        c = socket.socket()
        c.setblocking(False)
        c.connect_ex((ZS4, port))
        opened.append(c)
    time.sleep(rnd.random() * 0.01)
    for c in opened:
        with contextlib.suppress(OSError):
            c.send(bytes(rnd.randrange(1, 100000)))
    time.sleep(rnd.random() * 0.01)
    p.kill()
    p.stdin.close()
    p.wait()
    return opened


def ended(c):
    """The peer of a killed program hears of it: the end, or a reset."""
    c.settimeout(20)
    with contextlib.suppress(ConnectionError, BrokenPipeError):
        while c.recv(65536):
            pass
    c.close()


@case
def h31_killed_at_any_moment_disturbs_nobody_and_leaves_nothing():
    with watched(net) as (s, w), App(s, "echo", 7), App(s, "echo", 70):
        start, descriptors = w.levels(), s.descriptors()
        transfers = Transfers((ZS4, 7), (ZS6, 70))
        rnd = random.Random(31)
        try:
            for i in range(ROUNDS):
                opened = victim(s, rnd)
                for c in opened:
                    if i % 10 == 0:
                        ended(c)
                    c.close()
        finally:
            transfers.end()
        w.await_levels(start, 60)
        until("its descriptors come back", lambda: s.descriptors() == descriptors)
        check(s.alive(), s.errors()[-500:])


@case
def h31_ports_are_free_after_the_storm():
    with watched(net) as (s, w):
        start = w.levels()
        for i in range(20):
            with App(s, "echo", 7) as a:
                c = connect(ZS4, 7)
                c.sendall(b"x" * 100000)
                a.kill()
                c.close()
        with App(s, "echo", 7):
            check_echo(connect(ZS4, 7), pattern(1 << 20))
        w.await_levels(start)


# ---- programs that are linked to one another (docs/design/013) ----

def linked(s, *args):
    """A program that knows every byte which it must get (link_app.c)."""
    return subprocess.Popen([os.path.join(service.folder, "link_app"), *map(str, args)], env=service.environment(s),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Talks:
    """Streams to an honest server, beside what happens to others."""

    def __init__(self, s, *ports):
        self.done, self.bad, self.over = 0, [], False
        self.threads = [threading.Thread(target=self.run, args=(s, p)) for p in ports]
        for t in self.threads:
            t.start()

    def run(self, s, port):
        while not self.over and not self.bad:
            p = linked(s, "talk", ZS4, port, 4, 500000)
            out = p.communicate(timeout=60)[0]
            if p.returncode != 0:
                self.bad.append(f"exit {p.returncode}: {out}")
            self.done += 1

    def end(self):
        self.over = True
        for t in self.threads:
            t.join()
        check(not self.bad, f"a stream was disturbed: {self.bad[:2]}")
        print(f"# {self.done} rounds of streams meanwhile")
        check(self.done > 3, f"{self.done} rounds")


def kill_linked(s, rnd, honest):
    """Two ends of streams, of which one or both are killed at any moment; who stays hears of it, and gets no byte that
    was not sent."""
    port = rnd.choice((5001, 5002, 5003))
    pair = [linked(s, rnd.choice(("echo", "echo", "fork")), port)]
    check("listening" in pair[0].stdout.readline(), "no listener")
    pair.append(linked(s, "talk", ZS4, rnd.choice((port, port, honest)), rnd.randrange(1, 8), 4000000))
    time.sleep(rnd.choice((0.02, 0.05, 0.1)) + rnd.random() * 0.1)
    for p in rnd.choice((pair[:1], pair[1:], pair)):
        p.kill()
    said = ""
    with contextlib.suppress(subprocess.TimeoutExpired):
        said = pair[1].communicate(timeout=40)[0]
    check("is wrong" not in said and "nothing happens" not in said, said)
    check(pair[1].returncode is not None, "it hears nothing of its neighbour's death")
    pair[0].kill()
    check("is wrong" not in pair[0].communicate()[0], "the server got what was not sent")


def mappings(s):
    with open(f"/proc/{s.process.pid}/maps") as f:
        return sum("memfd:zstack" in line for line in f)


@case
def h31_linked_programs_killed_at_any_moment():
    shutil.copy(os.path.join(peer.build, "test", "interop", "link_app"), service.folder)
    with watched(net) as (s, w), App(s, "echo", 7):
        start, descriptors, maps = w.levels(), s.descriptors(), mappings(s)
        talks = Talks(s, 7)
        rnd = random.Random(32)
        try:
            for _ in range(ROUNDS // 5):
                kill_linked(s, rnd, 7)
        finally:
            talks.end()
        w.await_levels(start, 60)
        until("its descriptors come back", lambda: s.descriptors() == descriptors)
        until("its memory comes back", lambda: mappings(s) == maps)
        check(s.alive(), s.errors()[-500:])


peer.run(900 if os.environ.get("ZS_LONG") else 200)
