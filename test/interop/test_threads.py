#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Sockets belong to no thread (DESIGN §3.10): thread_server.c, attached to a service."""
import contextlib
import hashlib
import os
import re
import tempfile
import threading

import peer
from peer import ZS4, Net, case, check, connect, echo, pattern, recv_all

peer.start()
net = Net()
work = tempfile.TemporaryDirectory()
service = peer.Service(net, os.path.join(work.name, "zstackd.sock"))


@contextlib.contextmanager
def server(*args):
    s = peer.Attached(net, service, os.path.join(peer.build, "test/interop/thread_server"), *args, ready="ready")
    try:
        yield s
        check(s.alive(), s.errors())
    finally:
        s.end()


@case
def a_thousand_threads_serve_a_connection_each():
    with server("echo", "1000") as s:
        conns = [connect(ZS4, timeout=60) for _ in range(1000)]
        for i, c in enumerate(conns):
            c.sendall(pattern(2000, i))
        wrong = [i for i, c in enumerate(conns) if recv_all(c, 2000) != pattern(2000, i)]
        check(not wrong, f"of 1000 these differ: {wrong[:10]}")
        n = len(os.listdir(f"/proc/{s.process.pid}/task"))
        check(n >= 1000, f"the server has {n} threads")
        for c in conns:
            c.close()
        data = pattern(100000)
        check(echo(connect(ZS4), data) == data, "afterwards what comes back differs")


@case
def a_stream_written_by_four_threads_in_turn_keeps_its_order():
    with server("turns"):
        want = b"".join(bytes([ord("a") + r % 26]) * 1500 for r in range(200))
        for _ in range(5):
            got = recv_all(connect(ZS4))
            check(hashlib.sha256(got).digest() == hashlib.sha256(want).digest(),
                  f"{len(got)} of {len(want)} bytes, or in another order")


@case
def a_thread_that_sleeps_for_ever_holds_nobody_up():
    with server("sleeper"):
        data = pattern(200000)
        check(echo(connect(ZS4), data) == data, "what came back differs")


@case
def threads_come_and_go():
    with server("echo", "16") as s:
        for turn in range(10):
            wrong = []

            def one(i):
                data = pattern(20000, i)
                if echo(connect(ZS4, timeout=30), data) != data:
                    wrong.append(i)

            threads = [threading.Thread(target=one, args=(turn * 100 + i,)) for i in range(32)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            check(not wrong, f"these differ: {wrong}")
        check(re.search(r"Threads:\s+\d+", open(f"/proc/{s.process.pid}/status").read()), "no status")


@case
def the_service_ends_in_order():
    check(service.stop() == 0, service.errors())


peer.run(120)
