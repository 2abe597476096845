# SPDX-License-Identifier: BSD-3-Clause
"""Both ends of connections in one process, each waited for by a thread of its own, one of them beside a pipe:
two_threads.py ADDRESS COUNT. What comes for one thread may be taken by the other while it is about to wait."""
import os
import select
import socket
import sys
import threading

count = int(sys.argv[2])
listener = socket.create_server((sys.argv[1], 0))
listener.settimeout(10)
late = []


def serve():
    for i in range(count):
        c, _ = listener.accept()
        c.settimeout(10)
        try:
            c.sendall(c.recv(100))
        except TimeoutError:
            late.append(f"server {i}")
        c.close()


def wait(p):
    if not p.poll(10000):
        late.append(f"client {i}")
        sys.exit(f"nothing came: {late}")


thread = threading.Thread(target=serve, daemon=True)
thread.start()
r, w = os.pipe()
for i in range(count):
    s = socket.socket()
    s.setblocking(False)
    p = select.poll()
    p.register(r, select.POLLIN)
    try:
        s.connect(listener.getsockname())
    except BlockingIOError:
        pass
    p.register(s, select.POLLOUT)
    wait(p)
    p.modify(s, select.POLLIN)
    s.send(b"hello")
    got = b"-"
    while got:
        wait(p)
        try:
            got = s.recv(100)
        except BlockingIOError:
            pass
    s.close()
thread.join()
print(late or "good")
