#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The proxy and the client between a Linux client and a Linux server."""
import contextlib
import signal
import socket
import threading

import peer
from peer import LINUX4, LINUX6, ZS4, ZS6, Failed, Net, Program, case, check, check_echo, connect, pattern, recv_all

peer.start()
net = Net("af_packet")


def serve(addr):
    """An echo server of Linux; its port."""
    sock = peer.listen(addr)
    sock.settimeout(None)

    def one(s):
        with contextlib.suppress(OSError), s:
            while data := s.recv(65536):
                s.sendall(data)

    def accept():
        while True:
            s, _ = sock.accept()
            threading.Thread(target=one, args=(s,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return sock.getsockname()[1]


backend = serve(LINUX4)
proxy = Program(net, "proxy", "80", LINUX4, str(backend))


@case
def payload_passes_both_ways():
    check_echo(connect(ZS4, 80), b"hello")
    check_echo(connect(ZS4, 80), pattern(32 << 20))


@case
def ipv6_outside_ipv4_inside():
    check_echo(connect(ZS6, 80), pattern(4 << 20))


@case
def many_sessions():
    bad = []

    def one(n):
        try:
            for i in range(20):
                check_echo(connect(ZS4, 80, timeout=20), pattern(1000 * n + i, n))
        except (OSError, Failed) as e:
            bad.append(e)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(32)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not bad, f"{len(bad)} of 32: {bad[:1]}")


@case
def slow_reader_stops_the_sender():
    """Back-pressure from end to end: not everything fits into the buffers on the way."""
    s = connect(ZS4, 80, SO_RCVBUF=16384)
    s.settimeout(1)
    data, sent = pattern(1 << 20), 0
    with contextlib.suppress(TimeoutError):
        while sent < 256 << 20:
            sent += s.send(data)
    check(sent < 256 << 20, "256 MiB were taken although nothing was read")
    s.settimeout(20)
    threading.Thread(target=lambda: s.shutdown(socket.SHUT_WR), daemon=True).start()
    got = len(recv_all(s))
    check(got == sent, f"{got} of {sent} bytes")
    s.close()


@case
def unreachable_backend_ends_the_session():
    """Another proxy, to a port where nobody listens."""
    with Program(net.beside(), "proxy", "81", LINUX4, "9", addrs=["10.7.0.9/24"]):
        with contextlib.suppress(ConnectionResetError):  # which may be there before connect() has returned
            check(connect("10.7.0.9", 81).recv(1) == b"", "data")


@case
def counters_prove_that_nothing_was_copied():
    proxy.process.send_signal(signal.SIGUSR1)
    proxy.await_line("copied by the API")
    check(proxy.stop() == 0, proxy.errors())
    check(proxy.counter("copied by the API") == 0, "bytes copied")
    check(int(proxy.errors().split("received ")[1].split()[0]) > 64 << 20, proxy.errors())


@case
def client_fetches_a_url():
    body = pattern(3 << 20)
    for addr in (LINUX4, LINUX6):
        sock = peer.listen(addr)
        port = sock.getsockname()[1]

        def answer(s):
            request = b""
            while b"\r\n\r\n" not in request:
                request += s.recv(4096)
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return request
        t, got = peer.serve_once(sock, answer)
        host = f"[{addr}]" if ":" in addr else addr
        with Program(net, "client", f"http://{host}:{port}/file", ready=None) as c:
            check(c.wait() == 0, c.errors())
            t.join(5)
            check(got and got[0].startswith(b"GET /file HTTP/1.1\r\nHost: "), f"request {got}")
            c.log.seek(0)
            check(c.log.read() == body, "body")
        sock.close()


peer.run(90)
