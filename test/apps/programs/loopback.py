# SPDX-License-Identifier: BSD-3-Clause
"""loopback.py serve ADDRESS PORT: echoes, a line for each connection: whom from. loopback.py ask ADDRESS PORT [TEXT]: what
comes back, or the errno. loopback.py hold ADDRESS PORT: asks, and goes on until its input ends."""
import select
import socket
import sys
import threading

what, addr, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in addr else socket.AF_INET


def echo(s):
    with s:
        while data := s.recv(65536):
            s.sendall(data)


def serve():
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind((addr, port))
        s.listen(64)
    except OSError as e:
        sys.exit(f"errno {e.errno}")
    print("listening at", s.getsockname()[1], flush=True)
    while True:
        c, peer = s.accept()
        print("from", peer[0], flush=True)
        threading.Thread(target=echo, args=(c,), daemon=True).start()


def talk(s, text):
    s.sendall(text)
    got = b""
    while len(got) < len(text):
        got += s.recv(len(text) - len(got))
    assert got == text


def ask():
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(20)
    try:
        s.connect((addr, port))
    except OSError as e:
        print("errno", e.errno, flush=True)
        sys.exit()
    for _ in range(4):
        talk(s, b"x" * 100000)
    print("same", s.getpeername()[0], s.getsockname()[0], flush=True)
    return s


if what == "serve":
    serve()
else:
    s = ask()
    # Who has a link takes it when the connection is used next.
    while what == "hold" and not select.select([sys.stdin], [], [], 0.05)[0]:
        talk(s, b"y")
    s.close()
