#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""TCP against Linux over one kind of link: test_tcp.py [af_packet|af_xdp|tap [MTU [plain]]]. plain: the interfaces' offloads off."""
import socket
import struct
import subprocess
import sys
import threading
import time

import peer
from peer import (LINUX4, LINUX6, ZS4, ZS6, Net, Program, case, check, check_echo, connect, digest, echo, pattern,
                  recv_all)

peer.start()
net = Net(sys.argv[1] if len(sys.argv) > 1 else "af_packet", mtu=int(sys.argv[2]) if len(sys.argv) > 2 else 1500,
          offloads="plain" not in sys.argv)
MB = 1 << 20
server = Program(net, "echo", "7")


@case
def linux_connects_ipv4():
    check_echo(connect(ZS4), b"hello")


@case
def linux_connects_ipv6():
    check_echo(connect(ZS6), b"hello")


@case
def every_small_size_comes_back():
    s = connect()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for size in [*range(1, 80), *range(1380, 1470), 2047, 2048, 2049, 4095, 4096, 65535, 65536]:
        data = pattern(size, size)
        check(echo(s, data, half_close=False) == data, f"{size} bytes")
    s.close()


@case
def bulk_both_ways_ipv4():
    check_echo(connect(ZS4), pattern(32 * MB))


@case
def bulk_both_ways_ipv6():
    check_echo(connect(ZS6), pattern(32 * MB))


@case
def bulk_through_small_buffers_of_the_peer():
    """The peer's window closes again and again: RFC 9293 §3.8.6.1."""
    check_echo(connect(ZS4, SO_RCVBUF=4096, SO_SNDBUF=4096), pattern(2 * MB))


@case
def bulk_with_small_segments():
    check_echo(connect(ZS4, TCP_MAXSEG=200), pattern(2 * MB))


@case
def slow_reader_gets_everything():
    s, data = connect(SO_RCVBUF=16384), pattern(4 * MB)
    t = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)), daemon=True)
    t.start()
    got = []
    for _ in range(10):
        time.sleep(0.1)
        got.append(s.recv(65536))
    got.append(recv_all(s))
    check(digest(b"".join(got)) == digest(data), "bytes differ")
    s.close()


@case
def half_close_is_answered():
    s = connect()
    s.sendall(b"last words")
    s.shutdown(socket.SHUT_WR)
    check(recv_all(s) == b"last words", "data after FIN")
    s.close()


def abort(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


@case
def resets_do_not_disturb_others():
    """HOSTILE H23."""
    steady = connect()
    for n in range(200):
        s = connect()
        s.send(b"x" * (n * 37 % 5000 + 1))
        abort(s)
    check_echo(steady, pattern(MB))


@case
def one_after_the_other():
    for n in range(2000):
        s = connect(ZS6 if n % 2 else ZS4)
        s.send(b"%d" % n)
        check(s.recv(10) == b"%d" % n, f"connection {n}")
        s.close()


@case
def thousands_at_once():
    import resource
    n = 2000
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    all_ = [connect(ZS6 if i % 4 == 0 else ZS4) for i in range(n)]
    for round_ in range(3):
        for i, s in enumerate(all_):
            s.send(b"%8d" % (i * 7 + round_))
        for i, s in enumerate(all_):
            check(recv_all(s, 8) == b"%8d" % (i * 7 + round_), f"connection {i} of {n}, round {round_}")
    for s in all_:
        s.shutdown(socket.SHUT_WR)
    for i, s in enumerate(all_):
        check(s.recv(1) == b"", f"connection {i}: end of stream")
        s.close()


@case
def many_bulks_at_once():
    data = pattern(MB)
    bad = []

    def one():
        try:
            check_echo(connect(timeout=30), data)
        except Exception as e:
            bad.append(e)
    threads = [threading.Thread(target=one) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not bad, f"{len(bad)} of 16 failed: {bad[:1]}")


@case
def urgent_data_does_not_break_the_stream():
    s = connect()
    s.send(b"before")
    s.send(b"!", socket.MSG_OOB)
    s.send(b"after")
    s.shutdown(socket.SHUT_WR)
    check(recv_all(s).replace(b"!", b"") == b"beforeafter", "stream")
    s.close()


@case
def server_ends_cleanly():
    check(server.stop() == 0, server.errors())


def client(addr, port, data):
    """Runs the client example with data as its input; its output."""
    import tempfile
    with tempfile.TemporaryFile() as f:
        f.write(data)
        f.seek(0)
        return Program(net, "client", addr, str(port), ready=None, stdin=f)


def connect_out(listen_addr, size):
    # The tap does not exist yet, and neither does its address.
    with peer.listen(("::" if ":" in listen_addr else "0.0.0.0") if net.link == "tap" else listen_addr) as sock:
        data = pattern(size)

        def reflect(s):
            got = recv_all(s)
            s.sendall(got)
            return digest(got)
        t, result = peer.serve_once(sock, reflect)
        with client(listen_addr, sock.getsockname()[1], data) as c:
            if net.link == "tap":
                configure_tap()
            check(c.wait() == 0, c.errors())
            t.join(10)
            check(result == [digest(data)], "what Linux received")
            c.log.seek(0)
            check(digest(c.log.read()) == digest(data), "what the client printed")


def configure_tap():
    """The device appears when the program has opened it."""
    for _ in range(200):
        if subprocess.run(f"ip link show {net.dev}", shell=True, capture_output=True).returncode == 0:
            break
        time.sleep(0.02)
    net.configure()


@case
def zstack_connects_ipv4():
    connect_out(LINUX4, 16 * MB)


@case
def zstack_connects_ipv6():
    connect_out(LINUX6, 16 * MB)


@case
def zstack_is_refused():
    if net.link == "tap":
        raise peer.Skip("as with af_packet")
    c = client(LINUX4, 9, b"")
    check(c.wait() != 0, "exit 0")
    check("refused" in c.errors().lower(), c.errors())


peer.run(90)
