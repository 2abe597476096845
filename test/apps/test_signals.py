#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Signals, cancellation and sockets (H40; programs/signals.c says what is checked): test_signals.py [kernel]."""
import contextlib
import os
import socket
import threading

import world
from world import LINUX4, build, case, check, far

PROGRAM = os.path.join(build, "test/apps/signals")
PORT = 7300
world.start()


def serve(s):
    with contextlib.suppress(OSError):
        while data := s.recv(65536):
            s.sendall(data)
    s.close()


def echo_server():
    listener = socket.create_server((LINUX4, PORT), backlog=64)
    while True:
        s, _ = listener.accept()
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(s,), daemon=True).start()


threading.Thread(target=echo_server, daemon=True).start()


def named(name):
    def f():
        out = far(PROGRAM, LINUX4, PORT, name, options=() if world.kernel else ("-v",))
        check(out.endswith("well\n"), out)
        check(world.kernel or f"connect {LINUX4}:{PORT}" in out and "taken" in out, f"the kernel served it: {out}")
    f.__name__ = name
    return f


for name in ("interrupted", "restarted", "not_with_a_time_limit", "never_restarted", "jumped", "told", "exactly",
             "mask_of_a_wait", "storm", "every_call_ends", "cancelled", "faults_are_at_once"):
    case(named(name))

world.finish(60)
