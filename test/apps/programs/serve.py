# SPDX-License-Identifier: BSD-3-Clause
"""Servers of Python's own library, as programs write them: serve.py KIND ADDRESS PORT. All but http echo."""
import asyncio
import http.server
import multiprocessing
import os
import select
import selectors
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading

kind, addr, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in addr else socket.AF_INET


def ready():
    print("listening", flush=True)


def listener():
    s = socket.create_server((addr, port), family=family, backlog=512)
    ready()
    return s


def echo(s):
    with s:
        while data := s.recv(65536):
            s.sendall(data)


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        while data := self.rfile.read1(65536):
            self.wfile.write(data)


class Threaded(socketserver.ThreadingTCPServer):
    address_family, request_queue_size, allow_reuse_address, daemon_threads = family, 512, True, True


class Forking(socketserver.ForkingTCPServer):
    address_family, request_queue_size, allow_reuse_address, max_children = family, 512, True, 200


def serve(server):
    signal.signal(signal.SIGTERM, lambda *a: os._exit(0))
    ready()
    server.serve_forever(poll_interval=0.2)


def by_http():
    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self):
            left = int(self.headers["Content-Length"])
            with open(self.translate_path(self.path), "wb") as f:
                while left and (data := self.rfile.read(min(left, 65536))):
                    f.write(data)
                    left -= len(data)
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    class Server(http.server.ThreadingHTTPServer):
        address_family, request_queue_size = family, 512
    serve(Server((addr, port), Handler))


def by_threads():
    s = listener()
    while True:
        c, _ = s.accept()
        threading.Thread(target=echo, args=(c,), daemon=True).start()


def by_asyncio(tls=False):
    async def one(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if not tls:
            writer.write_eof()
        writer.close()

    async def main():
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*sys.argv[4:6])
        server = await asyncio.start_server(one, addr, port, backlog=512, ssl=context)
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, done.set)
        ready()
        async with server:
            await done.wait()
    asyncio.run(main())


def by_selector(make):
    """One thread that never blocks; sends what it has when the peer has room."""
    sel, s = make(), listener()
    s.setblocking(False)
    sel.register(s, selectors.EVENT_READ)
    wake, woken = socket.socketpair()  # a descriptor of the kernel in the same set
    sel.register(woken, selectors.EVENT_READ)
    signal.signal(signal.SIGTERM, lambda *a: wake.send(b"x"))
    while True:
        for k, mask in sel.select():
            if k.fileobj is woken:
                return
            if k.fileobj is s:
                with_errors(accept_all, sel, s)
            else:
                with_errors(turn, sel, k.fileobj, k.data, mask)


def with_errors(f, *args):
    try:
        f(*args)
    except BlockingIOError:
        pass


def accept_all(sel, s):
    while True:
        c, _ = s.accept()
        c.setblocking(False)
        sel.register(c, selectors.EVENT_READ, bytearray())


def turn(sel, c, waiting, mask):
    data = None
    try:
        if mask & selectors.EVENT_READ and len(waiting) < 1 << 20:
            data = c.recv(65536)
            waiting += data
        while waiting:
            del waiting[:c.send(waiting)]
    except BlockingIOError:
        pass
    except OSError:
        data = b""
        waiting.clear()
    if data == b"" and not waiting:
        sel.unregister(c)
        c.close()
        return
    sel.modify(c, (0 if data == b"" or len(waiting) >= 1 << 20 else selectors.EVENT_READ)
               | (selectors.EVENT_WRITE if waiting else 0), waiting)


def by_edges():
    """Edge-triggered epoll."""
    s = listener()
    s.setblocking(False)
    ep, held = select.epoll(), {}
    ep.register(s, select.EPOLLIN | select.EPOLLET)
    while True:
        for fd, _ in ep.poll():
            if fd == s.fileno():
                try:
                    while True:
                        c, _ = s.accept()
                        c.setblocking(False)
                        held[c.fileno()] = c, bytearray()
                        ep.register(c, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
                except BlockingIOError:
                    continue
            c, waiting = held[fd]
            try:
                while True:
                    if waiting:
                        del waiting[:c.send(waiting)]
                    else:
                        data = c.recv(65536)
                        if not data:
                            break
                        waiting += data
            except BlockingIOError:
                continue
            except OSError:
                pass
            del held[fd]
            c.close()


def by_datagrams():
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.bind((addr, port))
    ready()
    while True:
        data, peer = s.recvfrom(65536)
        s.sendto(data, peer)


CHILD = "import os\nwhile d := os.read(0, 65536):\n    while d:\n        d = d[os.write(1, d):]\n"


def by_subprocess():
    """Each connection is standard input and output of a program, as of inetd; PROGRAM: cat, or else Python again."""
    s = listener()
    argv = ["cat"] if sys.argv[4:] == ["cat"] else [sys.executable, "-c", CHILD]
    while True:
        c, _ = s.accept()
        with c:
            p = subprocess.Popen(argv, stdin=c, stdout=c)
        threading.Thread(target=p.wait, daemon=True).start()


def passed_worker(unix):
    while True:
        _, fds, _, _ = socket.recv_fds(unix, 1, 1)
        if not fds:
            return
        threading.Thread(target=echo, args=(socket.socket(fileno=fds[0]),), daemon=True).start()


def by_passing():
    """Accepted here, served by another process, which gets each connection's descriptor in a message."""
    ours, theirs = socket.socketpair()
    worker = multiprocessing.get_context("fork").Process(target=passed_worker, args=(theirs,), daemon=True)
    worker.start()
    s = listener()
    while True:
        c, _ = s.accept()
        with c:
            socket.send_fds(ours, [b"x"], [c.fileno()])


def by_processes():
    """Children share the listener, as of a server that forks first."""
    s = listener()
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            while True:
                echo(s.accept()[0])
        pids.append(pid)
    signal.signal(signal.SIGTERM, lambda *a: [os.kill(p, signal.SIGKILL) for p in pids])
    for p in pids:
        os.waitpid(p, 0)


KINDS = {"http": by_http, "threads": by_threads, "asyncio": by_asyncio, "tls": lambda: by_asyncio(True),
         "select": lambda: by_selector(selectors.SelectSelector), "poll": lambda: by_selector(selectors.PollSelector),
         "epoll": lambda: by_selector(selectors.EpollSelector), "edges": by_edges, "datagrams": by_datagrams,
         "subprocess": by_subprocess, "passing": by_passing, "processes": by_processes,
         "threading": lambda: serve(Threaded((addr, port), Echo)), "forking": lambda: serve(Forking((addr, port), Echo))}
KINDS[kind]()
