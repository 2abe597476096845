# SPDX-License-Identifier: BSD-3-Clause
"""Sockets of every kind, each made once or as often as it says: whose.py OWN PEER."""
import contextlib
import os
import socket
import sys

own, peer = sys.argv[1:]
kept = []


def bound(addr, port):
    with contextlib.suppress(OSError):
        kept.append(socket.create_server((addr, port)))
    return kept[-1]


def connecting(addr, port):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((addr, port))
    kept.append(s)


kept += [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
         socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)]
bound(own, 7306)
bound("0.0.0.0", 7307)
loopback = bound("127.0.0.1", 7308)
bound("192.0.2.1", 7309)
bound(own, 7311)
kept += [socket.create_connection(("127.0.0.1", 7308)), loopback.accept()]
connecting(peer, 9)
connecting("192.0.2.1", 9)
connecting("10.9.0.1", 9)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(3):
    u.sendto(b"x", ("127.0.0.1", 9))
child = os.fork()
if child == 0:
    kept.append(socket.socket(socket.AF_UNIX))
    bound(own, 7310)
    print("child", flush=True)
    sys.stdin.read()
    os._exit(0)
print("ready", flush=True)
kept.append(loopback.accept())
print("accepted", flush=True)
sys.stdin.read()
os.waitpid(child, 0)
