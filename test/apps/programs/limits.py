# SPDX-License-Identifier: BSD-3-Clause
"""What a program costs, and what it is told when there is no more: limits.py WHAT [ARG…]; see test_limits.py."""
import contextlib
import errno
import os
import resource
import select
import socket
import sys

ZS4 = "10.7.0.2"


def charged():
    """kB of memory that the process may write, whether it has touched it or not (proc(5), VmData)."""
    with open("/proc/self/status", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("VmData:")).split()[1])


def pair(port):
    """A connection to a listener of this program, both ends of it."""
    with socket.create_server((ZS4, port)) as listener:
        near = socket.create_connection((ZS4, port))
        return near, listener.accept()[0]


def all_numbers():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def echo(near, far, n=20000):
    data = os.urandom(n)
    near.sendall(data)
    got = b""
    while len(got) < n:
        got += far.recv(n)
    assert got == data


def cost():
    """At the start; with an undecided socket; with a connection to itself, which has become a link."""
    print(charged())
    s = socket.socket()
    print(charged())
    near, far = pair(7400)
    for _ in range(50):
        echo(near, far)
    e = select.epoll()
    e.register(far.fileno(), select.EPOLLIN)
    echo(near, far)
    print(charged())
    s.close()


def many():
    """Sockets, sets and numbers by the thousand, at numbers far from one another; all of it works and is closed."""
    hard = all_numbers()
    near, far = pair(7401)
    for n in (1023, 1024, 16383, 16384, 18000, 65536, 131072, 1000000):
        if n >= hard:
            break
        os.dup2(far.fileno(), n)
        other = socket.socket(fileno=n)
        echo(near, other)
        with select.epoll() as e:
            os.dup2(e.fileno(), n - 5)
            with select.epoll.fromfd(n - 5) as high:
                high.register(n, select.EPOLLIN)
                near.sendall(b"x")
                assert high.poll(10) == [(n, select.EPOLLIN)]
                assert far.recv(1) == b"x"
        with contextlib.suppress(OSError):
            os.close(n - 5)
        other.close()
        with open("/dev/null", "rb") as null:
            os.dup2(null.fileno(), n)
        assert os.read(n, 1) == b""  # the kernel's
        os.close(n)
    sets = [select.epoll() for _ in range(1500)]
    for e in sets:
        e.register(far.fileno(), select.EPOLLIN)
    near.sendall(b"x")
    assert all(e.poll(10) == [(far.fileno(), select.EPOLLIN)] for e in sets)
    assert far.recv(1) == b"x"
    socks = []
    with socket.create_server((ZS4, 7402), backlog=64) as listener:
        for _ in range(3000):
            socks.append(socket.create_connection((ZS4, 7402)))
            socks.append(listener.accept()[0])
    for i in range(0, len(socks), 100):
        echo(socks[i], socks[i + 1], 2000)
    print("well")


def exhaust(what):
    """Sockets until the limit refuses one; then again after they were closed."""
    near, far = pair(7403)
    limit = getattr(resource, "RLIMIT_" + what)
    with open("/proc/self/status", encoding="ascii") as f:
        now = {line.split(":")[0]: int(line.split()[1]) << 10 for line in f if line.startswith(("VmData", "VmSize"))}
    was = resource.getrlimit(limit)
    resource.setrlimit(limit, (now["VmData" if what == "DATA" else "VmSize"] + (1 << 18), was[1]))
    all_numbers()
    counts = []
    for _ in range(2):
        fds, errors = [], set()
        # By number, and in what is allocated already: the interpreter wants memory, too.
        try:
            while True:
                fds.append(os.dup(far.fileno()))
        except (OSError, MemoryError) as e:
            errors.add(getattr(e, "errno", errno.ENOMEM))
        for fd in fds:
            os.close(fd)
        counts.append(len(fds))
        assert errors == {errno.ENOMEM}, (errors, counts)
    assert counts[0] == counts[1] > 500, counts
    echo(near, far)
    resource.setrlimit(limit, was)
    again = os.dup(far.fileno())
    os.close(again)
    print("well")


def few():
    """All numbers that it may have are of use, as often as it likes, and each refusal is the kernel's."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    used = sum(os.path.exists(f"/proc/self/fd/{n}") for n in range(limit))
    counts = []
    for port in (7404, 7405):
        listener = socket.create_server((ZS4, port), backlog=64)
        listener.settimeout(5)
        socks, error = [listener], None
        while error is None:
            try:
                socks.append(socket.socket())
                socks[-1].connect((ZS4, port))
                socks.append(listener.accept()[0])
            except OSError as e:
                error = e.errno
        assert error == errno.EMFILE, error
        counts.append(len(socks))
        if len(socks) % 2 == 0:  # accept() was refused: what waits is there when there is a number again
            socks[1].close()
            socks[2].close()
            socks[1:3] = []
            socks.append(listener.accept()[0])
        echo(socks[-2], socks[-1])
        echo(socks[1], socks[2])
        for s in socks:
            s.close()
    print(limit - used, *counts)


def denied(what):
    """There is no room to attach: said as the kernel would; when there is, all is well."""
    limit = getattr(resource, "RLIMIT_" + what)
    was = resource.getrlimit(limit)
    resource.setrlimit(limit, (32 << 20, was[1]))
    with socket.socket() as s, contextlib.suppress(OSError):
        s.bind((ZS4, 7406))
        raise AssertionError("bind")
    with socket.socket() as s:
        print(*(errno.errorcode[e] for e in (s.connect_ex((ZS4, 7406)), s.connect_ex((ZS4, 7406)))))
    resource.setrlimit(limit, was)
    echo(*pair(7406))
    print("well")


def tight():
    """Serves with what memory it has, from service to service."""
    listener = socket.create_server((ZS4, 7))
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 20, resource.RLIM_INFINITY))  # it has more already
    print("ready", flush=True)
    while True:
        with listener.accept()[0] as s, contextlib.suppress(ConnectionResetError):
            while data := s.recv(4096):
                s.sendall(data)


def forking(megabytes):
    """Each connection is a child's, which may not have more address space than this (as vsftpd's)."""
    listener = socket.create_server((ZS4, 7))
    resource.setrlimit(resource.RLIMIT_AS, (int(megabytes) << 20, resource.RLIM_INFINITY))
    print("ready", flush=True)
    while True:
        with listener.accept()[0] as s:
            if os.fork() == 0:
                while data := s.recv(4096):
                    s.sendall(data)
                os._exit(0)
        os.waitpid(-1, os.WNOHANG)


globals()[sys.argv[1]](*sys.argv[2:])
