# SPDX-License-Identifier: BSD-3-Clause
"""pass_on.py ADDR PORT PATH HOW: sends each connection that it accepts on, by a UNIX socket that it connects to PATH.
HOW: `close` it then; `keep` it until a byte comes on that socket; `flood`: pass each to itself again and again, without
reading, until that fails, and write how often. taker.py is the other side."""
import os
import select
import socket
import sys

addr, port, path, how = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
s = socket.create_server((addr, port), backlog=512)
unix = socket.socket(socket.AF_UNIX)
unix.connect(path)
print("ready", flush=True)


def flood(c):
    mine, n = [], 0
    try:
        while n < 20000:
            mine.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
            for _ in range(5):
                socket.send_fds(mine[-1][0], [b"x"], [c.fileno()])
                n += 1
    except OSError as e:
        unix.send(f"{n} {os.strerror(e.errno)}\n".encode())
    return mine


kept = []
while True:
    ready, _, _ = select.select([s, unix], [], [])
    if unix in ready:
        if not unix.recv(1):
            break
        kept.clear()
    if s not in ready:
        continue
    c, _ = s.accept()
    if how == "flood":
        kept.append((c, flood(c)))
        del c
        continue
    socket.send_fds(unix, [b"x"], [c.fileno()])
    if how == "keep":
        kept.append(c)
    else:
        c.close()
    del c
