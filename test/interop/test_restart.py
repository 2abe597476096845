#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The service is killed and started again under programs that go on (issue 3, point 7; HOSTILE H38)."""
import contextlib
import os
import random
import re
import signal
import socket
import tempfile
import threading
import time

import peer
from peer import ADDRS, LINUX4, ZS4, Net, Skip, case, check, connect, cpu_seconds, digest, echo, pattern, recv_all

peer.start()
net = Net()
work = tempfile.TemporaryDirectory()
SOCKET = os.path.join(work.name, "zstackd.sock")
BIG = pattern(2 << 20)
with open(os.path.join(work.name, "big"), "wb") as f:
    f.write(BIG)
service = peer.Service(net, SOCKET)


def attached(name, *args, ready="listening"):
    path = name if "/" in name else os.path.join("examples", name)
    return peer.Attached(net, service, os.path.join(peer.build, path), *args, ready=ready)


http = attached("http", work.name, "80")
echoes = attached("udp_echo", "77")
programs = attached("test/interop/restart_server", ready="ready")
ALL = [http, echoes, programs]


def restart(how=signal.SIGKILL, pause=0.0, addrs=ADDRS, args=()):
    """The service ends, is away for a while, and comes again; how long the program needed to be back."""
    global service
    service.process.send_signal(how)
    service.process.wait()
    time.sleep(pause)
    service = peer.Service(net, SOCKET, *args, addrs=addrs)
    began = time.monotonic()
    for p in ALL:
        check(p.alive(), f"{p.name} ended: {p.errors()}")
    return began


def again(f, seconds=30):
    """Tries until it works; programs need a moment to attach."""
    end = time.monotonic() + seconds
    while True:
        try:
            return f()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def get():
    with contextlib.closing(connect(ZS4, 80, timeout=3)) as s:
        s.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return digest(recv_all(s).split(b"\r\n\r\n", 1)[1])


def ask(port, text, addr=ZS4):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.3)
        s.sendto(text, (addr, port))
        return s.recv(2000)


def all_work(addr=ZS4):
    for port in (7, 8, 9):
        data = pattern(100000, port)
        back = again(lambda p=port, d=data: echo(connect(addr, p, timeout=3), d))
        check(back == data, f"port {port}: {len(back)} bytes, or others, came back")
    for port in (6, 77):
        check(again(lambda p=port: ask(p, b"hello", addr)) == b"hello", f"UDP port {port}")


def descriptors(p):
    return len(os.listdir(f"/proc/{p.process.pid}/fd"))


def memory(p):
    with open(f"/proc/{p.process.pid}/smaps_rollup") as f:
        return int(re.search(r"Rss: *(\d+)", f.read()).group(1))


def mappings(p):
    with open(f"/proc/{p.process.pid}/maps") as f:
        return len(f.readlines())


def ends(port):
    return re.findall(rf"^end {port} (\d+)$", programs.output(), re.M)


@case
def killed_service_is_replaced_without_the_programs_noticing():
    all_work()
    check(get() == digest(BIG), "what was got differs")
    began = restart()
    check(again(get) == digest(BIG), "what was got differs")
    check(time.monotonic() - began < 2, f"back after {time.monotonic() - began:.1f} s")
    all_work()


@case
def connections_are_reset_for_the_program():
    conns = {port: connect(ZS4, port) for port in (7, 8, 9)}
    for port, c in conns.items():
        c.sendall(b"x")
        check(c.recv(1) == b"x", f"port {port}")
    before = {port: len(ends(port)) for port in conns}
    restart()
    for port in conns:
        end = time.monotonic() + 5
        while len(ends(port)) <= before[port] and time.monotonic() < end:
            time.sleep(0.01)
        check(ends(port)[before[port]:] == ["104"], f"port {port}: {ends(port)[before[port]:]}")
    # The peer finds out when it sends.
    for c in conns.values():
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            c.sendall(b"y")
            check(c.recv(1) == b"", "something answers on a connection that is gone")
        c.close()
    all_work()


@case
def a_buffer_that_is_held_outlives_its_service():
    text = pattern(900)
    with contextlib.suppress(TimeoutError):
        ask(5, text)
    for _ in range(2):
        restart()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        def first_answer():
            s.settimeout(0.3)
            s.sendto(b"other", (ZS4, 5))
            return s.recv(2000)
        got = again(first_answer)
    check(got == text, f"{len(got)} other bytes came back")


@case
def requests_under_load_are_right_or_fail():
    stop, good, bad = threading.Event(), [0], []

    def load():
        while not stop.is_set():
            try:
                bad.extend([0] if get() != digest(BIG) else [])
                good[0] += 1
            except (OSError, IndexError):
                time.sleep(0.01)

    threads = [threading.Thread(target=load, daemon=True) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(4):
        had, end = good[0], time.monotonic() + 8
        restart(signal.SIGTERM if i % 2 else signal.SIGKILL)
        while good[0] < had + 8 and time.monotonic() < end:
            time.sleep(0.05)
        check(good[0] >= had + 8, f"after restart {i} only {good[0] - had} requests")
    stop.set()
    for t in threads:
        t.join(10)
    # A response cut by a reset is shorter than it says, and no wrong one.
    check(not [b for b in bad if b], "wrong bytes")


@case
def program_that_connects_goes_on():
    with peer.listen(LINUX4, 4000) as l:
        def accept():
            s, _ = l.accept()
            s.sendall(b"x")
            return s
        a = accept()
        before = len(re.findall(r"^out", programs.output(), re.M))
        restart(pause=0.3)
        b = accept()
        outs = re.findall(r"^out (\d+)$", programs.output(), re.M)[before:]
        check(outs and outs[0] == "104", f"the connection ended with {outs[:5]}")
        a.close()
        b.close()


@case
def twenty_restarts_leave_nothing_behind():
    restart()
    all_work()
    before = {p.name: (descriptors(p), mappings(p), memory(p)) for p in ALL}
    for i in range(20):
        restart(pause=0.05 if i % 4 == 0 else 0)
        again(lambda: ask(77, b"again"))
        for port in (7, 8, 9):
            again(lambda p=port: echo(connect(ZS4, p, timeout=3), b"some bytes"))
    all_work()
    time.sleep(0.2)
    for p in ALL:
        fds, maps, rss = before[p.name]
        check(descriptors(p) <= fds, f"{p.name} has {descriptors(p)} descriptors, had {fds}")
        check(mappings(p) <= maps + 4, f"{p.name} has {mappings(p)} mappings, had {maps}")
        check(memory(p) < rss + 4000, f"{p.name} has {memory(p)} KB, had {rss}")


@case
def nothing_is_burnt_while_there_is_no_service():
    global service
    service.process.kill()
    service.process.wait()
    time.sleep(0.5)
    # The third program has a thread that asks once in a millisecond.
    before = {p.name: cpu_seconds(p.process.pid) for p in (http, echoes)}
    time.sleep(8)
    for p in (http, echoes):
        used = cpu_seconds(p.process.pid) - before[p.name]
        check(used < 0.08, f"{p.name} used {used:.2f} s of 8")
    service = peer.Service(net, SOCKET)
    all_work()
    check(again(get) == digest(BIG), "what was got differs")


@case
def service_that_is_killed_as_soon_as_it_is_ready():
    """Programs are anywhere between their first message and the last socket that is made again."""
    for i in range(8):
        restart(signal.SIGTERM if i % 3 == 2 else signal.SIGKILL)
        time.sleep(random.random() * 0.06)
    all_work()


@case
def another_number_of_cores_is_no_matter():
    if len(os.sched_getaffinity(0)) < 2:
        raise Skip("one CPU")
    a, b = sorted(os.sched_getaffinity(0))[:2]
    for cores in (f"{a},{b}", f"{a}", f"{b},{a}"):
        restart(args=["--cores", cores])
        all_work()
        check(again(get) == digest(BIG), "what was got differs")


@case
def upgrade_may_bring_other_addresses():
    restart(signal.SIGTERM, addrs=["10.7.0.3/24"])
    all_work("10.7.0.3")
    restart(signal.SIGTERM)
    all_work()


@case
def program_that_closes_all_descriptors_gets_ours_again():
    p = attached("test/interop/restart_server", "100", ready="ready")
    for port in (107, 108, 109):
        data = pattern(100000, port)
        check(again(lambda q=port, d=data: echo(connect(ZS4, q), d)) == data, f"port {port}: others came back")
    check("has its descriptors again" in service.errors(), service.errors())
    time.sleep(1)
    before = cpu_seconds(p.process.pid)
    time.sleep(2)
    # One of its threads asks once in a millisecond.
    check(cpu_seconds(p.process.pid) - before < 0.3, f"it uses {cpu_seconds(p.process.pid) - before:.2f} s of 2")
    restart()
    for port in (107, 108, 109):
        data = pattern(100000, port)
        check(again(lambda q=port, d=data: echo(connect(ZS4, q), d)) == data, f"port {port}: others came back")
    check(p.alive(), p.errors())
    p.end()


@case
def programs_end_cleanly():
    for p in (http, echoes):
        check(p.stop() == 0, p.errors())
    programs.end()
    service.process.kill()


peer.run(240)
