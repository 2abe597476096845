# SPDX-License-Identifier: BSD-3-Clause
"""The Linux peer of calls.c: a service on each port that calls.h names, in threads of this process."""
import contextlib
import socket
import struct
import threading
import time

import peer

TCP, UDP = {}, {}


def tcp(port):
    def mark(f):
        TCP[port] = f
        return f
    return mark


def udp(port):
    def mark(f):
        UDP[port] = f
        return f
    return mark


@tcp(9001)
def echo(s):
    while data := s.recv(65536):
        s.sendall(data)


@tcp(9002)
def greet(s):
    s.sendall(b"hello world")
    while s.recv(65536):
        pass


@tcp(9003)
def reset(s):
    s.recv(1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@tcp(9004)
def last(s):
    s.sendall(b"goodbye")
    s.shutdown(socket.SHUT_WR)
    while s.recv(65536):
        pass


@tcp(9005)
def caller(s):
    port = int(s.recv(16))
    c = socket.create_connection((s.getpeername()[0], port), timeout=10)
    c.sendall(b"from peer")
    got = 0
    with contextlib.suppress(OSError):
        while data := c.recv(65536):
            got += len(data)
            c.sendall(data)
    c.close()
    s.sendall(b"%d" % got)


@tcp(9007)
def urgent(s):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(b"abc")
    s.send(b"D", socket.MSG_OOB)
    s.sendall(b"ef")
    while s.recv(65536):
        pass


@tcp(9009)
def sink(s):
    time.sleep(0.3)
    n = 0
    while data := s.recv(1 << 20):
        n += len(data)
    s.sendall(b"%d" % n)


@tcp(9010)
def slow(s):
    s.sendall(b"one")
    time.sleep(0.2)
    s.sendall(b"two")
    s.shutdown(socket.SHUT_WR)
    while s.recv(65536):
        pass


@udp(9006)
def uecho(s, data, addr):
    s.sendto(data, addr)


@udp(9011)
def usend(s, data, addr):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"to you", (addr[0], int(data)))


@udp(9012)
def uall(s, data, addr):
    if s.family == socket.AF_INET:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b:
            b.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            b.bind((peer.LINUX4, 0))
            b.sendto(b"to all", (peer.LINUX4.rsplit(".", 1)[0] + ".255", int(data)))


def serve_one(serve, s):
    with contextlib.suppress(OSError):
        serve(s)
    s.close()


def serve_tcp(listener, serve):
    while True:
        s, _ = listener.accept()
        s.settimeout(30)
        threading.Thread(target=serve_one, args=(serve, s), daemon=True).start()


def serve_udp(s, serve):
    while True:
        data, addr = s.recvfrom(65536)
        with contextlib.suppress(OSError):
            serve(s, data, addr)


def group():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("239.7.7.8", 9013))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.7.7.8") + socket.inet_aton(peer.LINUX4))
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.bind((peer.LINUX4, 0))
    serve_udp(s, lambda s, data, addr: out.sendto(data + b" by " + addr[0].encode(), addr))


def start():
    threading.Thread(target=group, daemon=True).start()
    for family, addr in ((socket.AF_INET, peer.LINUX4), (socket.AF_INET6, peer.LINUX6)):
        for port, serve in TCP.items():
            listener = socket.create_server((addr, port), family=family, backlog=64)
            threading.Thread(target=serve_tcp, args=(listener, serve), daemon=True).start()
        for port, serve in UDP.items():
            s = socket.socket(family, socket.SOCK_DGRAM)
            s.bind((addr, port))
            threading.Thread(target=serve_udp, args=(s, serve), daemon=True).start()
