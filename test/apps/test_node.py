#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""node, whose event loop is libuv's: http, https, net, dgram, cluster (programs/serve.js): test_node.py [kernel]."""
import contextlib
import http.client
import os
import signal
import socket
import ssl

import world
from world import (LINUX4, ZS4, ZS6, App, Near, case, check, check_echo, connect, digest, far, near, path, pattern, put,
                   together, until)

world.start("node", "openssl", "wrk")
HERE = os.path.dirname(os.path.abspath(__file__))
serve = put("serve.js", open(os.path.join(HERE, "programs", "serve.js"), "rb").read())
cert, key = world.certificate()
FILES = {"one.txt": b"1", "odd.bin": pattern(1_000_003), "big.bin": pattern(16 << 20)}
for name, data in FILES.items():
    put(f"www/{name}", data)


def server(kind, *args, addr=ZS4, port=7100, how=App):
    return how("node", serve, kind, addr, port, *args, ready="listening", cwd=path("www"), ok=(0, -15, 143))


def get(where, addr=ZS4, port=7100, tls=False, method="GET", body=None):
    c = http.client.HTTPSConnection(addr, port, timeout=20, context=ssl.create_default_context(cafile=cert)) if tls \
        else http.client.HTTPConnection(addr, port, timeout=20)
    with contextlib.closing(c):
        c.request(method, where, body)
        answer = c.getresponse()
        check(answer.status == 200, f"{where}: {answer.status}")
        return answer.read()


def serves_files(**how):
    for name, data in FILES.items():
        check(digest(get("/" + name, **how)) == digest(data), name)
    check(all(digest(d) == digest(FILES["odd.bin"]) for d in together(24, lambda n: get("/odd.bin", **how))), "24 at a time")
    body = pattern(16 << 20, seed=3)
    check(get("/up", method="PUT", body=body, **how).decode() == digest(body), "uploaded")


@case
def http_server():
    with server("http"):
        world.is_taken(7100)
        serves_files()
        out = near("wrk", "-t1", "-c32", "-d2", f"http://{ZS4}:7100/one.txt")
        check("Socket errors" not in out and "Non-2xx" not in out, out)


@case
def http_server_of_ipv6():
    with server("http", addr=ZS6):
        serves_files(addr=ZS6)


@case
def https_server():
    with server("https", cert, key):
        serves_files(tls=True)


@case
def echo_server():
    with server("echo"):
        for size in (0, 1, 70_001, 5_000_000):
            check_echo(connect(ZS4, 7100, timeout=20), pattern(size, seed=size))
        together(16, lambda n: check_echo(connect(ZS4, 7100, timeout=20), pattern(300_000 + n, seed=n)))


@case
def cluster():
    """The first process accepts and passes each connection to one of three others."""
    with server("cluster") as s:
        serves_files()
        pids = set()
        until("all three answer", lambda: [pids.add(get("/pid")) for _ in range(10)] and len(pids) == 3)
        os.kill(int(min(pids)), signal.SIGKILL)
        # Before that a connection may be given to the dead one, on the kernel as well.
        until("another listens", lambda: "another listens" in s.output())
        until("another takes its place", lambda: not pids.issuperset({get("/pid") for _ in range(10)}))
        check(s.alive(), "the first lives")


@case
def datagrams():
    with server("datagrams"):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(10)
        s.connect((ZS4, 7100))
        for i in range(300):
            data = pattern(1 + i * 29, seed=i)
            s.send(data)
            check(s.recv(65536) == data, f"datagram {i}")


def client_does(kind, of):
    with server(of, addr=LINUX4, port=7102, how=Near):
        check(far("node", serve, kind, LINUX4, 7102) == "good\n", "to Linux")
    with server(of, port=7103):
        check(far("node", serve, kind, ZS4, 7103) == "good\n", "to a program of Z-Stack")


@case
def client():
    client_does("client", "echo")


@case
def http_client():
    client_does("httpClient", "http")


world.finish()
