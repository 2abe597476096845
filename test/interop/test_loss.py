#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Links that lose, repeat and reorder packets (impair.py): the stream is intact, and it does not stall."""
import socket
import threading

import impair
import peer
from peer import ZS4, ZS6, Net, Program, case, check, check_echo, connect, pattern

peer.start()
net = Net("af_packet", offloads=False)
server = Program(net, "echo", "7")


def over(size, addr=ZS4, **impairment):
    impair.impair(net, **impairment)
    try:
        check_echo(connect(addr, timeout=90), pattern(size))
    finally:
        impair.repair(net)


@case
def loss_of_one_percent():
    over(8 << 20, loss=100)


@case
def loss_of_ten_percent():
    over(1 << 20, ZS6, loss=1000)


@case
def loss_of_thirty_percent():
    over(50_000, loss=3000)


@case
def duplicates():
    over(8 << 20, twice=2000)


@case
def reordering():
    over(8 << 20, late=500, late_mbit=50)


@case
def everything_at_once():
    over(4 << 20, loss=100, twice=100, late=100, late_mbit=20)
    over(4 << 20, ZS6, loss=100, twice=100, late=100, late_mbit=20)


@case
def many_connections_on_a_lossy_link():
    impair.impair(net, loss=200, twice=100, late=100, late_mbit=20)
    bad = []

    def one(n):
        try:
            for i in range(5):
                check_echo(connect(ZS6 if n % 2 else ZS4, timeout=30), pattern(20_000, n))
        except Exception as e:
            bad.append(e)
    try:
        threads = [threading.Thread(target=one, args=(n,)) for n in range(40)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        impair.repair(net)
    check(not bad, f"{len(bad)} of 40 failed: {bad[:1]}")


@case
def requests_over_a_lossy_link():
    """Tails of short answers are repaired by TLP (RFC 8985 §7), not by a backed-off time-out."""
    impair.impair(net, loss=300)
    try:
        s = connect(timeout=20)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for n in range(300):
            s.send(b"%8d" % n)
            check(peer.recv_all(s, 8) == b"%8d" % n, f"request {n}")
        s.close()
    finally:
        impair.repair(net)


@case
def server_ends_cleanly():
    check(server.stop() == 0, server.errors())


peer.run(160)
