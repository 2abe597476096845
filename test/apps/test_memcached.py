#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""memcached from Debian's package, several threads: test_memcached.py [kernel]."""
import contextlib
import re
import socket
import struct

import world
from world import ZS4, ZS6, App, case, check, connect, digest, pattern, together, until

world.start("memcached")
server = App("memcached", "-l", f"{ZS4},[{ZS6}]", "-p", "11211", "-U", "11211", "-t", "4", "-u", "www-data", "-m", "512",
             "-I", "32m", "-c", "1024", "-v")
small = App("memcached", "-l", ZS4, "-p", "11212", "-t", "2", "-u", "www-data", "-c", "40", "-o", "no_maxconns_fast")
world.await_port(11211, program=server)
world.await_port(11212, program=small)


class Client:
    def __init__(self, port=11211, addr=ZS4):
        self.s = connect(addr, port, timeout=20, TCP_NODELAY=1)
        self.f = self.s.makefile("rb", 1 << 16)

    def line(self):
        return self.f.readline().rstrip(b"\r\n")

    def set(self, key, value):
        self.s.sendall(b"set %s 0 0 %d\r\n%s\r\n" % (key.encode(), len(value), value))
        check(self.line() == b"STORED", key)

    def get(self, key):
        self.s.sendall(b"get %s\r\n" % key.encode())
        return self.value()

    def value(self):
        head = self.line()
        if head == b"END":
            return None
        size = int(head.split()[3])
        data = self.f.read(size + 2)[:-2]
        check(self.line() == b"END", head)
        return data

    def stats(self):
        self.s.sendall(b"stats\r\n")
        got = {}
        while (line := self.line()) != b"END":
            _, k, v = line.decode().split(" ", 2)
            got[k] = v
        return got

    def close(self):
        self.f.close()
        self.s.close()


@case
def listeners_are_taken():
    world.is_taken(11211)
    world.is_taken(11212)


@case
def values_of_all_sizes():
    for addr in (ZS4, ZS6):
        c = Client(addr=addr)
        for size in (0, 1, 100, 16384, 70_001, 1_000_000, 20 << 20):
            v = pattern(size, seed=size)
            c.set("v", v)
            check(digest(c.get("v")) == digest(v), f"{size} bytes")
        check(c.get("none") is None, "a key that is not there")
        c.close()


@case
def all_threads_serve_many_clients():
    def one(n):
        c = Client()
        for i in range(100):
            v = pattern(n * 31 + i, seed=i)
            c.set(f"k{n}", v)
            check(c.get(f"k{n}") == v, f"client {n}")
        c.close()
    together(64, one)
    c = Client()
    check(int(c.stats()["threads"]) == 4, "threads")
    c.close()


@case
def a_long_pipeline():
    c = Client()
    c.s.sendall(b"".join(b"set n%d 0 0 %d noreply\r\n%s\r\n" % (i, len(str(i)), str(i).encode()) for i in range(5000)))
    for at in range(0, 5000, 1000):
        c.s.sendall(b"".join(b"get n%d\r\n" % i for i in range(at, at + 1000)))
        for i in range(at, at + 1000):
            check(c.value() == str(i).encode(), f"n{i}")
    c.close()


@case
def datagrams_are_answered():
    c = Client()
    c.set("u", b"hello")
    c.close()
    for addr in (ZS4, ZS6):
        s = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(10)
        s.connect((addr, 11211))
        for n in range(200):
            s.send(struct.pack("!HHHH", n, 0, 1, 0) + b"get u\r\n")
            got = s.recv(1500)
            check(struct.unpack("!HHHH", got[:8]) == (n, 0, 1, 0) and got[8:] == b"VALUE u 0 5\r\nhello\r\nEND\r\n", got)
        s.close()


@case
def a_full_server_accepts_when_others_leave():
    """It stops to accept by listen(fd, 0) and starts again."""
    held = []
    c = Client(11212)
    with contextlib.suppress(OSError):
        for _ in range(60):
            held.append(connect(ZS4, 11212, timeout=1))
    until("it is full", lambda: int(c.stats()["listen_disabled_num"]) > 0)
    for s in held:
        s.close()
    c.close()

    def again():
        with contextlib.suppress(OSError):
            d = Client(11212)
            d.set("a", b"b")
            d.close()
            return True
        return False
    until("it serves again", again)
    for _ in range(30):
        check(again(), "served")


@case
def idle_connections_are_not_forgotten():
    idle = [Client() for _ in range(400)]
    for n, c in enumerate(idle):
        c.set(f"i{n}", str(n).encode())
    for n, c in reversed(list(enumerate(idle))):
        check(c.get(f"i{n}") == str(n).encode(), n)
    until("all are counted", lambda: int(idle[0].stats()["curr_connections"]) >= 400)
    for c in idle:
        c.close()


@case
def programs_end_in_order():
    for p in (server, small):
        check(p.stop() == 0, p.errors())
    check(not re.search(r"rror|failed", server.errors().replace("UDP", "")), server.errors()[-1000:])


world.finish()
