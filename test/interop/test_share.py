#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An address that zstackd shares with the kernel (--share): programs of the kernel's and programs attached to the
service answer at it at the same time, and neither resets what is the other's.

    ┌ this process: the peer ┐  veth  ┌ zstackd ── programs attached to it     ┐
    │ 10.7.0.1, fd07::1      ├────────┤    │ zsk0, 10.7.0.2, fd07::2           │
    └────────────────────────┘        └ the kernel ── programs of the kernel's ┘
"""
import contextlib
import os
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


def kernel_says(code, *args):
    """What such a program prints."""
    p = kernel(code, *args)
    rc = p.wait(20)
    check(rc == 0, f"exit {rc}: {p.output()}{p.errors()}")
    return p.output().strip()


@contextlib.contextmanager
def kernel_server(port):
    p = kernel(KERNEL_SERVER, port, ready="listening")
    try:
        yield p
    finally:
        p.end()


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


peer.run()
