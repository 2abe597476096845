#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a program received of another over a link goes on to the wire where it lies (docs/design/013): nothing is copied,
and nobody gets memory back that the service still reads. A source and a relay (link_app.c), and a Linux peer."""
import contextlib
import os
import random
import signal
import socket
import subprocess
import time

import linked
import peer
import service
from linked import numbers, programs, sockets
from peer import LINUX4, ZS4, Net, case, check
from service import OTHER, USER, Service, until, watched

peer.start()
linked.install("link_app")
net = Net("af_packet")
link_app, run, server = programs("link_app")
expected = bytearray()


def check_prefix(data):
    """The stream that every source sends."""
    for i in range(len(expected), len(data)):
        expected.append((i * 0x9e3779b97f4a7c15 >> 56) & 255)
    if data != expected[:len(data)]:
        at = next(i for i in range(len(data)) if data[i] != expected[i])
        raise peer.Failed(f"byte {at} of {len(data)} is wrong")


def copied(w):
    return {k: v for k, v in w.counters().items() if k.startswith("sock_") and "copied" in k}


def ends(p):
    """It may have said that its stream was reset."""
    p.kill()
    check(p.process.returncode in (0, 1, -signal.SIGKILL), f"{p.name} ended with {p.process.returncode}: {p.errors()}")


@contextlib.contextmanager
def chain(s, source, relay="relay", seed=1):
    """A source that is linked to a relay, and the peer's end of what the relay sends; nothing goes yet."""
    with contextlib.ExitStack() as stack:
        listener = socket.socket()
        stack.enter_context(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20000)
        listener.bind((LINUX4, 0))
        listener.listen()
        name, *rest = relay.split()
        b = server(s, name, 80, LINUX4, listener.getsockname()[1], *rest)
        stack.callback(ends, b)
        name, *rest = source.split()
        a = link_app(s, name, ZS4, 80, *rest, *["0"] * (2 - len(rest)), seed, ready="connected", stdin=subprocess.PIPE)
        stack.callback(ends, a)
        wire = stack.enter_context(listener.accept()[0])
        wire.settimeout(30)
        until("the two are linked", lambda: sum("link" in o for o in sockets(s)) == 2)
        yield a, b, wire


def go(a):
    a.process.stdin.write(b"go\n")
    a.process.stdin.flush()


def unsent(s):
    """What the relay sent and the peer did not take."""
    return max([o["send_q"] for o in sockets(s) if o.get("peer", "") == LINUX4] + [0])


def is_stuck(s):
    """The peer does not read: at last nothing moves."""
    seen = []

    def same():
        seen.append(unsent(s))
        return len(seen) > 8 and seen[-1] > 100_000 and len(set(seen[-8:])) == 1
    until("nothing moves", same, 60)


@case
def link_in_wire_out_copies_nothing():
    with watched(net) as (s, w):
        start, before = w.levels(), copied(w)
        with chain(s, "source 5000000 512") as (a, b, wire):
            go(a)
            data = peer.recv_all(wire)
            check_prefix(data)
            check(len(data) == 5_000_000, len(data))
            for p in (a, b):
                check(p.wait(30) == 0, p.output() + p.errors())
                n = numbers(p.output())
                check(n["api_copied"] == 0 and n["tx"] + n["rx"] >= len(data) and n["bad"] == 0, n)
        check(copied(w) == before, f"{before} {copied(w)}")
        w.await_levels(start)


@case
def what_is_small_is_copied():
    """Or a slow peer would hold a block of the source's, and a place of the link's, for some bytes."""
    with watched(net) as (s, w):
        with chain(s, "source 300 1") as (a, b, wire):
            go(a)
            check_prefix(peer.recv_all(wire))
            check(b.wait(30) == 0 and numbers(b.output())["api_copied"] == 300, b.output())


@case
def a_source_gets_nothing_back_that_is_still_sent():
    """Its relay is killed while the peer reads nothing: the source writes over all of its memory as soon as it may."""
    with watched(net) as (s, w):
        start, before = w.levels(), copied(w)
        with chain(s, "spoil") as (a, b, wire):
            go(a)
            is_stuck(s)
            b.kill()
            a.await_line("all is ours", 30)
            check(copied(w)["sock_home_copied_bytes"] > before["sock_home_copied_bytes"], "nothing was on its way")
            data = peer.recv_all(wire)
            check_prefix(data)
            check(len(data) > 100_000, f"only {len(data)} bytes")
            check(a.wait(30) == 0, a.output() + a.errors())
        w.await_levels(start)


@case
def what_a_dead_source_had_sent_goes_on():
    with watched(net) as (s, w):
        start, before = w.levels(), copied(w)
        with chain(s, "spoil") as (a, b, wire):
            go(a)
            is_stuck(s)
            a.kill()
            data = peer.recv_all(wire)
            check_prefix(data)
            check(len(data) > 100_000, f"only {len(data)} bytes")
            b.wait(30)
        check(copied(w) == before, f"{before} {copied(w)}")
        w.await_levels(start)


@case
def a_child_goes_on_with_the_connection():
    """Which its parent sent on, and dies before that is out."""
    with watched(net) as (s, w):
        start = w.levels()
        with chain(s, "spoil", "bequeath 100000") as (a, b, wire):
            go(a)
            b.await_line("forked after", 30)
            b.process.kill()
            a.await_line("all is ours", 30)
            data = peer.recv_all(wire)
            check_prefix(data)
            check(len(data) == 65536 + int(b.output().split("forked after ")[1]), len(data))
        w.await_levels(start)


@case
def the_dead_count_for_who_holds_them():
    """Not for their own user, who can do nothing about it; and are gone when the other is through with them."""
    conf = os.path.join(service.folder, "wire.conf")
    with open(conf, "w") as f:
        f.write(f"[domain root]\nusers = 0\n[domain all]\nusers = {USER}, {OTHER}\nprograms = 4\n")
    with watched(net, "-c", conf) as (s, w):
        start = w.levels()
        with server(s, "echo", 8080, user=USER) as e:
            until("it is there", lambda: sockets(s))
            files = s.descriptors()
            clients = [link_app(s, "hold", ZS4, 8080, 1, ready="holding", stdin=subprocess.PIPE, user=OTHER)
                       for _ in range(4)]

            def linked_all():
                for c in clients:
                    c.process.stdin.write(b"r\n")
                    c.process.stdin.flush()
                return sum(o.get("link_both_ways", False) for o in sockets(s)) == 8
            until("all are linked", linked_all, 60)
            e.process.send_signal(signal.SIGSTOP)
            for c in clients:
                c.kill()
            until("they are gone", lambda: not any(o["state"] == "ESTABLISHED" for o in sockets(s)))
            until("another is taken", lambda: "connect -111" in run(s, "refused", ZS4, 81, user=OTHER))
            check(s.descriptors() > files, "nothing of them is held")
            e.process.send_signal(signal.SIGCONT)
            until("nothing of them is held", lambda: s.descriptors() == files, 30)
            e.kill()
        w.await_levels(start)


@case
def without_its_service_it_goes_back():
    """What was on its way is lost, as all of the relay's connection; the source has its memory again, over the link."""
    s = Service(net)
    with contextlib.ExitStack() as stack:
        stack.callback(s.process.wait)
        stack.callback(s.process.kill)
        a, b, wire = stack.enter_context(chain(s, "spoil"))
        go(a)
        is_stuck(s)
        s.process.kill()
        check(b.wait(30) == 1 and "reset" in b.output(), b.output() + b.errors())
        a.await_line("all is ours", 30)
    os.unlink(s.path)


@case
def killed_at_any_moment():
    rnd = random.Random(11)
    with watched(net) as (s, w):
        start = w.levels()
        for i in range(12):
            with chain(s, "spoil", seed=i) as (a, b, wire):
                go(a)
                wire.settimeout(rnd.choice((0.02, 30)))
                time.sleep(rnd.random() * 0.3)
                rnd.choice((a, b)).kill()
                data = bytearray()
                with contextlib.suppress(TimeoutError, ConnectionResetError):
                    while more := wire.recv(65536):
                        data += more
                check_prefix(data)
        w.await_levels(start, 60)
        check(s.alive(), s.errors())


peer.run()
