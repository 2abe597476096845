# SPDX-License-Identifier: BSD-3-Clause
"""taker.py PATH: echoes each connection that it gets by a UNIX socket that it connects to PATH; for each it says there
first what family it is of."""
import socket
import sys
import threading

unix = socket.socket(socket.AF_UNIX)
unix.connect(sys.argv[1])


def echo(c):
    with c:
        while data := c.recv(65536):
            c.sendall(data)


print("ready", flush=True)
while True:
    data, fds, _, _ = socket.recv_fds(unix, 1, 1)
    if not data:
        break
    c = socket.socket(fileno=fds[0])
    unix.send(b"U" if c.getsockname() in ("", b"") or isinstance(c.getsockname(), (str, bytes)) else b"I")
    threading.Thread(target=echo, args=(c,), daemon=True).start()
