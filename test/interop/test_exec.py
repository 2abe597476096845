#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that execute another with their sockets, attached to a service (H40; exec_server.c says how)."""
import contextlib
import os
import socket
import struct
import tempfile
import threading
import time

import peer
from peer import ZS4, Net, case, check, check_echo, connect, echo, pattern, recv_all

peer.start()
net = Net()
work = tempfile.TemporaryDirectory()
service = peer.Service(net, os.path.join(work.name, "zstackd.sock"))


@contextlib.contextmanager
def server(mode):
    s = peer.Attached(net, service, os.path.join(peer.build, "test/interop/exec_server"), mode, ready="ready")
    try:
        yield s
        check("exec_server:" not in s.errors(), s.errors())
    finally:
        s.end()


def feed(s, data):
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)


@case
def the_new_image_has_the_sockets():
    """What was unread is read by the new image; what was not handed over is closed."""
    with server("again") as s:
        first, data = connect(ZS4), pattern(300000)
        left = connect(ZS4)
        t = threading.Thread(target=feed, args=(first, data), daemon=True)
        t.start()
        check(recv_all(first) == data, "what came back differs")
        check(left.recv(1) == b"", "a connection that was left behind is not closed")
        t.join(10)
        check("second 2" in s.output(), s.output())
        for i in range(3):
            check_echo(connect(ZS4), pattern(100000, i))
        check(s.alive(), "the program ended")


@case
def connections_that_nobody_accepted_go_along():
    """The old image had heard of them."""
    with server("again") as s:
        first, other = connect(ZS4), connect(ZS4)
        waiting = [connect(ZS4) for _ in range(5)]
        data = pattern(50000)
        for w in waiting:
            w.sendall(data)
        feed(first, data)
        check(recv_all(first) == data, "what came back differs")
        for w in waiting:
            w.shutdown(socket.SHUT_WR)
            check(recv_all(w) == data, "what came back differs")
        check(other.recv(1) == b"", "a connection that was left behind is not closed")
        check_echo(connect(ZS4), data)
        check(s.alive(), "the program ended")


@case
def an_exec_that_fails_changes_nothing():
    with server("fails") as s:
        first, data = connect(ZS4), pattern(200000)
        other = connect(ZS4)
        check(echo(first, data) == data, "what came back differs")
        check_echo(other, pattern(100000, 2))
        check_echo(connect(ZS4), pattern(100000, 3))
        check("second" not in s.output(), "it was executed")


@case
def an_error_is_told_to_the_new_image():
    with server("reset") as s:
        first = connect(ZS4)
        other = connect(ZS4)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        check(other.recv(1) == b"", "a connection that was left behind is not closed")
        check_echo(connect(ZS4), pattern(100000))
        check("second 2" in s.output(), s.output())


@case
def the_new_image_outlives_the_service():
    """H38: it makes the listener again, as any program."""
    global service
    with server("reset") as s:
        first = connect(ZS4)
        connect(ZS4)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        check_echo(connect(ZS4), pattern(100000))
        service.process.kill()
        service.process.wait()
        service = peer.Service(net, service.path)
        end = time.monotonic() + 10
        while True:
            try:
                check_echo(connect(ZS4), pattern(100000))
                break
            except ConnectionRefusedError:
                check(time.monotonic() < end, "the listener did not come back")
                time.sleep(0.05)
        check(s.alive(), "the program ended")


@case
def the_service_ends_in_order():
    check(service.alive(), service.errors())
    check(service.stop() == 0, service.errors())


peer.run(90)
