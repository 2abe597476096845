# SPDX-License-Identifier: BSD-3-Clause
"""As much of a redis client as the tests need: requests of any number, answers in order."""
import socket

from peer import connect


class Redis:
    def __init__(self, addr, port, timeout=20):
        self.s = connect(addr, port, timeout=timeout, TCP_NODELAY=1)
        self.f = self.s.makefile("rb", 1 << 16)

    @staticmethod
    def request(*words):
        out = [b"*%d\r\n" % len(words)]
        for w in words:
            w = w if isinstance(w, bytes) else str(w).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(w), w))
        return b"".join(out)

    def send(self, *words):
        self.s.sendall(self.request(*words))

    def answer(self):
        line = self.f.readline()
        if not line:
            raise ConnectionError("closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self.f.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return int(rest) if kind == b":" else RuntimeError(rest.decode()) if kind == b"-" else rest.decode()

    def __call__(self, *words):
        self.send(*words)
        got = self.answer()
        if isinstance(got, RuntimeError):
            raise got
        return got

    def info(self, section):
        return dict(l.split(":", 1) for l in self("INFO", section).decode().split("\r\n") if ":" in l)

    def close(self):
        self.f.close()
        try:
            self.s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.s.close()
