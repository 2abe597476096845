#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Connections that a program under zstack run passes (SCM_RIGHTS) to one that has not got the library, which is this
process (docs/design/011, 6): test_strangers.py [kernel]."""
import contextlib
import os
import re
import select
import socket
import struct
import threading
import time

import world
from world import PYTHON, ZS4, App, build, case, check, connect, path, pattern, recv_all, sh, together, until

PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")
LARGE = pattern(6 << 20)
world.start()


def sockets():
    """Connections that somebody has."""
    out = sh(f"{world.tool} --socket {world.socket_path} ss -t")
    return [line for line in out.splitlines()[1:] if line and "TIME-WAIT" not in line]


class Other:
    """A program on Z-Stack with a UNIX socket to us."""
    count = 0

    def __init__(self, script, *before, after=()):
        Other.count += 1
        self.path = path(f"unix{Other.count}")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.argv = [os.path.join(PROGRAMS, script), *before, self.path, *after]

    def __enter__(self):
        self.app = App(PYTHON, *self.argv, ready="ready", ok=(0, -15))
        self.unix, _ = self.listener.accept()
        self.unix.settimeout(20)
        return self

    def __exit__(self, kind, value, trace):
        self.listener.close()
        with self.app:
            self.unix.close()
            if kind is None:
                check("lost" not in self.app.errors(), self.app.errors())


    def leaves(self):
        self.unix.shutdown(socket.SHUT_WR)
        self.app.process.wait(20)

    def pass_on(self, s):
        """Gives it to the taker; of what family it is there."""
        s.setblocking(True)  # which goes with it, of the kernel's
        socket.send_fds(self.unix, [b"x"], [s.fileno()])
        return self.unix.recv(1)


class Passer(Other):
    def __init__(self, how="close"):
        super().__init__("pass_on.py", ZS4, 7, after=(how,))

    def __enter__(self):
        super().__enter__()
        world.is_taken(7)
        return self

    def __exit__(self, kind, value, trace):
        super().__exit__(kind, value, trace)
        if kind is None and not world.kernel:
            until("nothing is left", lambda: not sockets())

    def received(self):
        _, fds, _, _ = socket.recv_fds(self.unix, 1, 1)
        s = socket.socket(fileno=fds[0])
        s.settimeout(30)
        return s

    def pair(self):
        """A connection's ends: the peer's, and what the stranger gets."""
        peer = connect(ZS4)
        return peer, self.received()


def exactly(s, n):
    got = b""
    while len(got) < n:
        part = s.recv(n - len(got))
        check(part, f"an end after {len(got)} of {n}")
        got += part
    return got


def readable(s, seconds=20):
    return bool(select.select([s], [], [], seconds)[0])


def echo(s):
    with s:
        while data := s.recv(65536):
            s.sendall(data)


def both_ways(a, b, data):
    """a sends and ends, b echoes and ends."""
    t = threading.Thread(target=echo, args=(b,))
    t.start()
    sender = threading.Thread(target=lambda: (a.sendall(data), a.shutdown(socket.SHUT_WR)))
    sender.start()
    got = recv_all(a)
    sender.join()
    t.join()
    check(got == data, f"{len(got)} of {len(data)} came back")


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def ends(s):
    """An end, in whatever way."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while s.recv(65536):
            pass


def is_reset(s):
    try:
        while s.recv(65536):
            pass
        return False
    except ConnectionResetError:
        return True


@case
def the_peer_speaks_first():
    with Passer() as p:
        peer, s = p.pair()
        peer.sendall(b"request")
        check(exactly(s, 7) == b"request", "not that")
        s.sendall(b"answer")
        check(exactly(peer, 6) == b"answer", "not that")
        for i in range(20):
            peer.sendall(bytes([i]))
            check(exactly(s, 1) == bytes([i]), "not that")
            s.sendall(bytes([i]))
            check(exactly(peer, 1) == bytes([i]), "not that")
        s.close()
        check(peer.recv(1) == b"", "no end")
        peer.close()


@case
def what_came_before_it_was_passed():
    with Passer() as p:
        peer = connect(ZS4)
        peer.sendall(LARGE[:30000])
        s = p.received()
        check(exactly(s, 30000) == LARGE[:30000], "not that")
        peer.close()
        check(s.recv(1) == b"", "no end")
        s.close()


@case
def the_receiver_speaks_first():
    with Passer() as p:
        peer, s = p.pair()
        s.sendall(b"220 hello")
        check(exactly(peer, 9) == b"220 hello", "not that")
        peer.sendall(b"EHLO")
        check(exactly(s, 4) == b"EHLO", "not that")
        peer.close()
        check(s.recv(1) == b"", "no end")
        s.close()


@case
def it_writes_and_is_gone():
    with Passer() as p:
        peer, s = p.pair()
        s.sendall(LARGE[:100000])
        s.close()
        check(recv_all(peer) == LARGE[:100000], "not that")
        peer.close()


@case
def it_only_reads():
    with Passer() as p:
        peer, s = p.pair()
        t = threading.Thread(target=lambda: (peer.sendall(LARGE), peer.shutdown(socket.SHUT_WR)))
        t.start()
        check(recv_all(s) == LARGE, "not that")
        t.join()
        s.close()
        peer.close()


@case
def an_end_and_nothing_else():
    with Passer() as p:
        peer, s = p.pair()
        peer.shutdown(socket.SHUT_WR)
        check(s.recv(1) == b"", "no end")
        s.sendall(b"late")
        s.close()
        check(recv_all(peer) == b"late", "not that")
        peer.close()


@case
def it_looks_before_it_reads():
    """As who finds out what protocol it is."""
    with Passer() as p:
        peer, s = p.pair()
        at = 0
        for n in (100, 6000, 16000):
            peer.sendall(LARGE[at:n])
            at = n
            until("it sees all", lambda: s.recv(n, socket.MSG_PEEK) == LARGE[:n])
        peer.sendall(LARGE[at:100000])
        check(exactly(s, 100000) == LARGE[:100000], "not that")
        s.close()
        peer.close()


@case
def it_only_writes():
    with Passer() as p:
        peer, s = p.pair()
        t = threading.Thread(target=lambda: (s.sendall(LARGE), s.shutdown(socket.SHUT_WR)))
        t.start()
        check(recv_all(peer) == LARGE, "not that")
        t.join()
        peer.sendall(b"thanks")
        check(exactly(s, 6) == b"thanks", "not that")
        peer.close()
        check(s.recv(1) == b"", "no end")
        s.close()


@case
def large_bodies_both_ways():
    with Passer() as p:
        both_ways(*p.pair(), LARGE)
        both_ways(*reversed(p.pair()), LARGE)


@case
def several_at_a_time():
    with Passer() as p:
        pairs = [p.pair() for _ in range(40)]
        together(40, lambda i: both_ways(*pairs[i], pattern(100000 + i, i)))


@case
def the_peer_resets():
    with Passer() as p:
        for talks in (False, True):
            peer, s = p.pair()
            if talks:
                s.sendall(b"x")
                exactly(peer, 1)
            reset(peer)
            ends(s)
            with contextlib.suppress(OSError):
                until("a write fails", lambda: s.send(b"x") < 0)
            s.close()


@case
def it_closes_with_something_unread():
    with Passer() as p:
        for fed in (True, False):
            peer, s = p.pair()
            peer.sendall(b"x" * 1000)
            if fed:
                check(readable(s), "nothing came")
            s.close()
            check(is_reset(peer), "no reset")
        peer, s = p.pair()
        peer.sendall(b"x" * 1000)
        exactly(s, 1000)
        s.close()
        check(not is_reset(peer), "a reset, of what was read to its end")
        peer.close()


@case
def it_does_not_read():
    """Neither does the peer, of another: both are held back, and others go on."""
    with Passer() as p:
        peer, s = p.pair()
        other_peer, other = p.pair()
        sent = []
        for a in (peer, other):
            a.settimeout(1)
            n = 0
            with contextlib.suppress(TimeoutError):
                while n < 64 << 20:
                    n += a.send(LARGE[n % 65536:n % 65536 + 65536])
            check(n < 64 << 20, "nobody held it back")
            sent.append(n)
            a.settimeout(30)
        both_ways(*p.pair(), LARGE[:200000])
        for a, b, n in ((peer, s, sent[0]), (other, other_peer, sent[1])):
            a.shutdown(socket.SHUT_WR)
            check(len(recv_all(b)) == n, "something is missing")
            a.close()
            b.close()


@case
def the_sender_stays():
    with Passer("keep") as p:
        peer, s = p.pair()
        peer.sendall(b"for whoever is left")
        check(not readable(s, 0.3) or world.kernel, "what the sender may read was given away")
        p.unix.send(b"!")
        check(exactly(s, 19) == b"for whoever is left", "not that")
        peer.close()
        s.close()


@case
def the_sender_stays_and_the_receiver_writes():
    with Passer("keep") as p:
        peer, s = p.pair()
        s.sendall(b"hello")
        check(exactly(peer, 5) == b"hello", "not that")
        peer.sendall(b"welcome")
        check(exactly(s, 7) == b"welcome", "not that")
        s.close()
        check(not readable(peer, 0.3), "the sender still has it")
        p.unix.send(b"!")
        check(peer.recv(1) == b"", "no end")
        peer.close()


@case
def it_goes_on_to_one_with_the_library():
    """Whatever was fed, it gets all of it that was not read."""
    with Passer() as p, Other("taker.py") as taker:
        for wait, read in ((False, 0), (True, 0), (True, 100), (True, 3999)):
            peer, s = p.pair()
            peer.sendall(LARGE[:4000])
            if wait:
                check(readable(s), "nothing came")
                check(s.recv(4000, socket.MSG_PEEK) == LARGE[:4000], "not that")
            check(exactly(s, read) == LARGE[:read], "not that")
            check(taker.pass_on(s) == b"I", "it is no socket of Z-Stack's")
            s.close()
            sender = threading.Thread(target=lambda: (peer.sendall(LARGE[4000:]), peer.shutdown(socket.SHUT_WR)))
            sender.start()
            check(recv_all(peer) == LARGE[read:], "not that")
            sender.join()
            peer.close()


@case
def it_goes_on_and_back():
    """As long as the one with the library has it, nothing is fed to who has the end as well; then again."""
    with Passer() as p, Other("taker.py") as taker:
        peer, s = p.pair()
        peer.sendall(b"abc")
        check(readable(s), "nothing came")
        check(taker.pass_on(s) == b"I", "it is no socket of Z-Stack's")
        check(exactly(peer, 3) == b"abc", "not that")
        check(world.kernel or not readable(s, 0.3), "what another has read")
        taker.leaves()
        peer.sendall(b"def")
        check(exactly(s, 3) == b"def", "not that")
        s.close()
        peer.close()


@case
def it_goes_on_after_it_was_used():
    """What a stranger uses stays a UNIX socket, and works."""
    with Passer() as p, Other("taker.py") as taker:
        peer, s = p.pair()
        s.sendall(b"x")
        exactly(peer, 1)
        check(taker.pass_on(s) == (b"I" if world.kernel else b"U"), "what is it?")
        s.close()
        peer.sendall(LARGE[:5000])
        check(exactly(peer, 5000) == LARGE[:5000], "not that")
        peer.close()
        if not world.kernel:
            until("it is said", lambda: "without the library before" in taker.app.errors())


@case
def many_are_passed_and_nobody_reads():
    """H37: a program passes to itself until it may not; others go on, and everything comes back."""
    if world.kernel:
        raise world.Skip("the kernel's limits are its own")
    with Passer() as p, Other("pass_on.py", ZS4, 8, after=("flood",)) as hostile:
        peer, s = p.pair()
        s.sendall(b"x")
        exactly(peer, 1)
        bad = connect(ZS4, 8)
        bad.sendall(b"x" * 5000)
        said = hostile.unix.recv(100).decode()
        check(re.match(r"\d+ Too many references", said) and 100 < int(said.split()[0]) <= 1024, said)
        time.sleep(0.3)
        both_ways(peer, s, LARGE[:500000])
        hostile.leaves()
        check(is_reset(bad), "no reset")
        both_ways(*p.pair(), LARGE[:500000])


@case
def many_strangers_do_not_read():
    with Passer() as p:
        pairs = [p.pair() for _ in range(150)]
        for peer, s in pairs:
            peer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(20):
                    peer.send(LARGE[:100000])
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(20):
                    s.send(LARGE[:100000])
        both_ways(*p.pair(), LARGE[:500000])
        for peer, s in pairs:
            s.close()
            peer.close()


@case
def the_service_is_killed():
    with Passer() as p:
        fed_peer, fed = p.pair()
        fed_peer.sendall(b"abc")
        check(readable(fed), "nothing came")
        used_peer, used = p.pair()
        used.sendall(b"x")
        exactly(used_peer, 1)
        world.replace_service()
        if not world.kernel:
            check(exactly(fed, 3) == b"abc", "what was there is gone")
            for s in (fed, used):
                ends(s)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    s.send(b"x")
                    check(False, "a write was taken")
            until("the program listens again", lambda: world.accepts(7))
            while readable(p.unix, 0.5):
                p.received().close()
        both_ways(*p.pair(), LARGE[:100000])
        for s in (fed, used, fed_peer, used_peer):
            s.close()


world.finish()
