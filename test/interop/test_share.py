#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An address that zstackd shares with the kernel (--share): programs of the kernel's and programs attached to the
service answer at it at the same time, and neither resets what is the other's.

    ┌ this process: the peer ┐  veth  ┌ zstackd ── programs attached to it     ┐
    │ 10.7.0.1, fd07::1      ├────────┤    │ zsk0, 10.7.0.2, fd07::2           │
    └────────────────────────┘        └ the kernel ── programs of the kernel's ┘
"""
import contextlib
import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import peer
import service
from peer import LINUX4, LINUX6, ZS4, ZS6, Attached, Net, case, check, check_echo, connect, pattern, sh
from service import App, Service, nothing_left, until

peer.start()
service.install()
shutil.copy(os.path.join(peer.build, "test", "interop", "share_app"), service.folder)
net = Net("af_packet")
BOTH = (ZS4, ZS6)
SHARE = ("--share", "zsk0")

KERNEL_SERVER = """
import socket, sys, threading
def serve(s):
    while data := s.recv(65536):
        s.sendall(data)
    s.close()
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("::", int(sys.argv[1])))
s.listen(64)
print("listening", flush=True)
while True:
    c, _ = s.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
"""


def kernel(code, *args, ready=None):
    """A Python program in the kernel's namespace that knows nothing of Z-Stack."""
    return Attached(net, None, sys.executable, "-u", "-c", code, *map(str, args), ready=ready)


@contextlib.contextmanager
def kernel_server(port):
    p = kernel(KERNEL_SERVER, port, ready="listening")
    try:
        yield p
    finally:
        p.end()


def in_the_kernel(work):
    """The result of a function that runs in the service's namespace."""
    result = []

    def run():
        peer.libc.setns(net.far, peer.CLONE_NEWNET)
        result.append(work())
    t = threading.Thread(target=run)
    t.start()
    t.join()
    check(result, "it did not come back")
    return result[0]


def kernel_bind(kind, addr, port, reuse=False):
    """What a program of the kernel's gets from bind and listen: "0", or the name of the error."""
    def work():
        s = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET,
                          socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        try:
            s.bind((addr, port))
            if kind == "tcp":
                s.listen(1)
            return "0"
        except OSError as e:
            return errno.errorcode[e.errno]
        finally:
            s.close()
    return in_the_kernel(work)


class Sockets:
    """share_app, a program that opens sockets on demand."""

    def __init__(self, s):
        self.ask, stdin = None, subprocess.PIPE
        self.app = App(s, "share_app", stdin=stdin)
        self.said = 1

    def __call__(self, *words):
        """The numbers that it answers."""
        self.app.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.app.process.stdin.flush()
        self.said += 1
        until(f"an answer to {words}", lambda: self.app.output().count("\n") >= self.said)
        return [int(n) for n in self.app.output().split("\n")[self.said - 1].split()]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.app.process.stdin.close()
        if kind is None and self.app.process.returncode is None:
            check(self.app.wait(20) == 0, self.app.errors())
        self.app.__exit__(kind, value, trace)


@contextlib.contextmanager
def shared(*args):
    with Service(net, *SHARE, *args) as s:
        yield s
    nothing_left(s)
    check("zsk0" not in net.far_sh("ip -br link"), "the interface is still there")


@case
def both_serve_at_one_address_at_the_same_time():
    with shared() as s, kernel_server(2222), App(s, "echo", 7) as e:
        data = pattern(2 << 20)
        threads = []
        bad = []

        def one(addr, port):
            try:
                check_echo(connect(addr, port), data)
            except Exception as x:
                bad.append(f"{addr} {port}: {x}")
        for addr in BOTH:
            for port in (7, 2222):
                threads.append(threading.Thread(target=one, args=(addr, port)))
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(not bad, bad)


@case
def ports_are_taken_on_both_sides():
    """EADDRINUSE, whoever is second; at other addresses of the kernel's a port stays free."""
    with shared() as s, Sockets(s) as z, kernel_server(2222):
        for addr in ("0.0.0.0", "::", ZS4, ZS6):
            check(z("listen", addr, 2222)[0] == -errno.EADDRINUSE, f"we got the kernel's port at {addr}")
            r, fd, port = z("listen", addr, 80)
            check((r, port) == (0, 80), f"{addr}: {r}")
            check(kernel_bind("tcp", ZS4 if "." in addr else ZS6, 80) == "EADDRINUSE", f"the kernel got our port, {addr}")
            check(kernel_bind("tcp", "0.0.0.0" if "." in addr else "::", 80) == "EADDRINUSE", "as wildcard")
            check(kernel_bind("tcp", ZS4 if "." in addr else ZS6, 80, reuse=True) == "EADDRINUSE", "with SO_REUSEADDR")
            check(kernel_bind("tcp", "127.0.0.1" if "." in addr else "::1", 80) == "0", "loopback was taken, too")
            check(kernel_bind("udp", ZS4, 80) == "0", "the port of UDP was taken, too")
            z("close", fd)
            until("the port is free again", lambda: kernel_bind("tcp", addr, 80) == "0")
        for addr in ("0.0.0.0", "::"):
            r, fd, _ = z("udp", addr, 53)
            check(r == 0, f"udp {addr}: {r}")
            check(kernel_bind("udp", ZS4, 53) == "EADDRINUSE", "the kernel got our port of UDP")
            check(kernel_bind("tcp", ZS4, 53) == "0", "the port of TCP was taken, too")
            z("close", fd)
            until("the port is free again", lambda: kernel_bind("udp", ZS4, 53) == "0")


@case
def a_bind_that_fails_keeps_no_port():
    with shared() as s, Sockets(s) as z:
        check(z("listen", "192.0.2.9", 80)[0] == -errno.EADDRNOTAVAIL, "a stranger's address was bound")
        check(z("listen", ZS4, 81)[0] == 0 and z("listen", ZS4, 81)[0] == -errno.EADDRINUSE, "bound twice")
        check(kernel_bind("tcp", ZS4, 81) == "EADDRINUSE", "the second bind gave the first one's port away")
        until("80 is free", lambda: kernel_bind("tcp", "0.0.0.0", 80) == "0")


@case
def ports_of_a_program_that_is_killed_are_free():
    with shared() as s:
        with Sockets(s) as z:
            check(z("listen", "::", 80)[0] == 0 and z("udp", "::", 53)[0] == 0, "no bind")
            check(kernel_bind("tcp", ZS4, 80) == "EADDRINUSE", "not reserved")
            z.app.kill()
        until("they are free", lambda: kernel_bind("tcp", "::", 80) == kernel_bind("udp", "::", 53) == "0")


@case
def what_is_released_does_not_go_under_a_second_holder():
    """Two programs share a port; it stays taken until both are through with it."""
    with shared() as s, App(s, "echo", 7) as e:
        with App(s, "echo", 7, ready=None) as second:
            check(second.wait(20) != 0, "two programs without SO_REUSEPORT have one port")
            second.process.returncode = 0
        check(kernel_bind("tcp", ZS4, 7) == "EADDRINUSE", "the one that failed gave the port away")
        check_echo(connect(ZS4, 7), pattern(1000))


@case
def ephemeral_ports_are_disjoint():
    """Ports that are chosen, of connections, of datagrams, and by bind to port 0."""
    ours, kernels = range(10000, 32768), range(32768, 61000)
    listener = peer.listen(LINUX4)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((LINUX4, 0))
    udp.settimeout(5)
    net.far_sh("sysctl -qw net.ipv4.ip_local_port_range='32768 60999'")
    to = listener.getsockname()[1], udp.getsockname()[1]
    with shared() as s, Sockets(s) as z:
        check("ephemeral ports: 10000 to 32767" in s.errors(), s.errors())
        for _ in range(20):
            r, fd, port = z("connect", LINUX4, to[0])
            check(r == 0 and port in ours, f"connect: {r}, port {port}")
            check(listener.accept()[0].getpeername()[1] == port, "not the port that it says")
            z("close", fd)
            for how in ("send", "ask"):
                r, fd, port = z(how, LINUX4, to[1])
                check(r == 0 and port in ours, f"{how}: {r}, port {port}")
                check(udp.recvfrom(10)[1] == (ZS4, port), "not the port that it says")
                check(kernel_bind("udp", ZS4, port) == "EADDRINUSE", "a chosen port is not reserved")
                z("close", fd)
            r, fd, port = z("listen", "0.0.0.0", 0)
            check(r == 0 and port in ours, f"listen: {r}, port {port}")
            z("close", fd)
            port = in_the_kernel(lambda: socket.create_connection((LINUX4, to[0])).getsockname()[1])
            check(port in kernels, f"the kernel's port is {port}")
            listener.accept()[0].close()
    listener.close()
    udp.close()


@case
def the_service_refuses_to_start_without_ports_of_its_own():
    net.far_sh("sysctl -qw net.ipv4.ip_local_port_range='1024 65535'")
    s = Service(net, *SHARE, ready=None)
    said = s.refused_to_start()
    net.far_sh("sysctl -qw net.ipv4.ip_local_port_range='32768 60999'")
    check("leaves none for the stack" in said, said)


peer.run()
