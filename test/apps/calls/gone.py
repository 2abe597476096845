# SPDX-License-Identifier: BSD-3-Clause
"""Run by test_gone.py under the library: does what its standard input says, a line at a time, and answers in one line."""
import errno
import os
import select
import socket
import sys

sockets = {}


def tcp(blocking=True):
    s = socket.socket()
    s.setblocking(blocking)
    return s


def do(verb, name, *rest):
    s = sockets.get(name)
    if verb == "connect":
        s = sockets[name] = tcp()
        s.settimeout(10)
        s.connect((rest[0], int(rest[1])))
    elif verb == "try":
        s = sockets[name] = tcp(False)
        s.connect((rest[0], int(rest[1])))
    elif verb == "listen":
        s = sockets[name] = socket.create_server(("", int(rest[0])))
    elif verb == "accept":
        s.settimeout(10)
        sockets[rest[0]] = s.accept()[0]
    elif verb == "recv":
        return s.recv(100)
    elif verb == "send":
        return s.send(rest[0].encode())
    elif verb == "wait":
        return select.select([s], [], [], 10)[0] != []
    return "done"


for line in sys.stdin:
    try:
        print(do(*line.split()), flush=True)
    except OSError as e:
        print(errno.errorcode.get(e.errno, e), flush=True)
os._exit(0)
