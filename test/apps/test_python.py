#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Debian's python3: the servers of its library (programs/serve.py), and its clients: test_python.py [kernel]."""
import contextlib
import http.client
import os
import socket
import ssl

import world
from world import (LINUX4, PYTHON, ZS4, ZS6, App, case, check, check_echo, connect, digest, far, path, pattern, put,
                   together)

world.start(PYTHON, "openssl")
HERE = os.path.dirname(os.path.abspath(__file__))
serve = put("serve.py", open(os.path.join(HERE, "programs", "serve.py"), "rb").read())
cert, key = world.certificate()
for name, size in (("one.txt", 1), ("odd.bin", 1_000_003), ("big.bin", 16 << 20)):
    put(f"www/{name}", pattern(size))


def server(kind, *args, addr=ZS4, port=7000, **how):
    return App(PYTHON, serve, kind, addr, port, *args, ready="listening", ok=(0, -15), **how)


def echoes(addr=ZS4, port=7000, sizes=(0, 1, 70_001, 3_000_000), clients=20):
    for n, size in enumerate(sizes):
        check_echo(connect(addr, port, timeout=20), pattern(size, seed=n))

    def one(n):
        s = connect(addr, port, timeout=20)
        for i in range(20):
            data = pattern(1 + n * 50 + i, seed=i)
            s.sendall(data)
            check(recv_exact(s, len(data)) == data, f"client {n}, message {i}")
        s.close()
    together(clients, one)


def recv_exact(s, n):
    got = b""
    while len(got) < n:
        part = s.recv(n - len(got))
        if not part:
            break
        got += part
    return got


def serves(kind, *args, **how):
    with server(kind, *args):
        world.is_taken(7000)
        echoes(**how)


@case
def http_server():
    with server("http", cwd=path("www")):
        world.is_taken(7000)

        def get(name):
            with contextlib.closing(http.client.HTTPConnection(ZS4, 7000, timeout=20)) as c:
                for _ in range(3):
                    c.request("GET", "/" + name)
                    answer = c.getresponse()
                    with open(path("www", name), "rb") as f:
                        check(answer.status == 200 and digest(answer.read()) == digest(f.read()), name)
        for name in ("one.txt", "odd.bin", "big.bin"):
            get(name)
        together(24, lambda n: get("odd.bin"))
        body = pattern(5_000_000, seed=5)
        with contextlib.closing(http.client.HTTPConnection(ZS4, 7000, timeout=20)) as c:
            c.request("PUT", "/up.bin", body)
            check(c.getresponse().status == 201, "PUT")
        with open(path("www", "up.bin"), "rb") as f:
            check(digest(f.read()) == digest(body), "uploaded")


@case
def http_server_of_ipv6():
    with server("http", addr=ZS6, cwd=path("www")):
        with contextlib.closing(http.client.HTTPConnection(ZS6, 7000, timeout=20)) as c:
            c.request("GET", "/odd.bin")
            check(digest(c.getresponse().read()) == digest(pattern(1_000_003)), "odd.bin")


@case
def http_server_as_a_module():
    with App(PYTHON, "-u", "-m", "http.server", "-b", ZS4, "7001", ready="Serving HTTP", cwd=path("www"), ok=(0, -15)):
        world.is_taken(7001)
        for _ in range(5):
            with contextlib.closing(http.client.HTTPConnection(ZS4, 7001, timeout=20)) as c:
                c.request("GET", "/odd.bin")
                check(digest(c.getresponse().read()) == digest(pattern(1_000_003)), "odd.bin")


@case
def threads():
    serves("threads")


@case
def socketserver_threads():
    serves("threading")


@case
def socketserver_processes():
    serves("forking")


@case
def asyncio():
    serves("asyncio")


@case
def asyncio_tls():
    with server("tls", cert, key):
        context = ssl.create_default_context(cafile=cert)

        def one(n):
            with context.wrap_socket(connect(ZS4, 7000, timeout=20), server_hostname=ZS4) as s:
                for i in range(5):
                    data = pattern(1 + n * 3000 + i, seed=i)
                    s.sendall(data)
                    check(recv_exact(s, len(data)) == data, f"client {n}")
        together(16, one)


@case
def select():
    serves("select")


@case
def poll():
    serves("poll")


@case
def epoll():
    serves("epoll")


@case
def edge_triggered_epoll():
    serves("edges")


@case
def listener_shared_by_processes():
    serves("processes", clients=3)
    with server("processes"):
        for n in range(300):  # whoever accepts may have asked in vain just before
            check_echo(connect(ZS4, 7000, timeout=20), b"x")


@case
def connection_as_input_and_output_of_a_program():
    serves("subprocess", clients=5)


@case
def connection_as_input_and_output_of_cat():
    serves("subprocess", "cat", clients=5)


@case
def connection_passed_to_another_process():
    serves("passing")


@case
def datagrams():
    with server("datagrams"):
        def one(n):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.settimeout(10)
            s.connect((ZS4, 7000))
            for i in range(50):
                data = pattern((n * 100 + i * 60) % 9000, seed=i)
                s.send(data)
                check(s.recv(65536) == data, f"client {n}, datagram {i}")
            s.close()
        together(8, one)


CLIENT = """
import asyncio, hashlib, http.client, os, socket, ssl, subprocess, sys, threading, urllib.request
host, port = sys.argv[2], int(sys.argv[3])
data = os.urandom(2_000_003)
def blocking():
    s = socket.create_connection((host, port), timeout=20)
    t = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
    t.start()
    got = b""
    while part := s.recv(65536):
        got += part
    t.join()
    assert got == data, len(got)
def threads():
    wrong = []
    def one():
        try:
            blocking()
        except BaseException as e:
            wrong.append(e)
    ts = [threading.Thread(target=one) for _ in range(8)]
    [t.start() for t in ts]
    [t.join() for t in ts]
    assert not wrong, wrong
def by_asyncio():
    async def one():
        r, w = await asyncio.open_connection(host, port)
        w.write(data)
        w.write_eof()
        assert await r.read() == data
        w.close()
        await w.wait_closed()
    async def all():
        await asyncio.gather(*[one() for _ in range(8)])
    asyncio.run(all())
def child():
    s = socket.create_connection((host, port), timeout=20)
    p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=s)
    p.communicate(data[:100_000])
    s.shutdown(socket.SHUT_WR)
    got = b""
    while part := s.recv(65536):
        got += part
    assert got == data[:100_000], len(got)
def forked():
    s = socket.create_connection((host, port), timeout=20)
    if os.fork() == 0:
        s.sendall(data[:100_000])
        s.shutdown(socket.SHUT_WR)
        os._exit(0)
    got = b""
    while part := s.recv(65536):
        got += part
    os.wait()
    assert got == data[:100_000], len(got)
def files():
    s = socket.create_connection((host, port), timeout=20)
    with open("big.in", "wb") as f:
        f.write(data)
    t = threading.Thread(target=lambda: (s.sendfile(open("big.in", "rb")), s.shutdown(socket.SHUT_WR)))
    t.start()
    got = s.makefile("rb").read()
    t.join()
    assert got == data, len(got)
globals()[sys.argv[1]]()
print("good")
"""
client = put("client.py", CLIENT)


def client_does(what):
    """Against a Linux server, and against one of Z-Stack."""
    with world.Near(PYTHON, serve, "threads", LINUX4, 7002, ready="listening", ok=(0, -15)):
        check(far(PYTHON, client, what, LINUX4, 7002).endswith("good\n"), what)
    with server("threads", port=7003):
        check(far(PYTHON, client, what, ZS4, 7003).endswith("good\n"), what)


@case
def client_blocks():
    client_does("blocking")


@case
def client_has_threads():
    client_does("threads")


@case
def client_of_asyncio():
    client_does("by_asyncio")


@case
def client_gives_its_connection_to_a_program():
    client_does("child")


@case
def client_forks():
    client_does("forked")


@case
def client_sends_files():
    client_does("files")


@case
def threads_that_wait_for_both_sides():
    program = put("two_threads.py", open(os.path.join(HERE, "programs", "two_threads.py"), "rb").read())
    check(far(PYTHON, program, ZS4, 3000) == "good\n", "nothing is late")


world.finish()
