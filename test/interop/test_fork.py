#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that fork, attached to a service: the child has its own channels and the parent's sockets
(DESIGN §3.11; fork_server.c says how each server forks)."""
import contextlib
import os
import re
import signal
import socket
import tempfile
import threading

import peer
from peer import ZS4, Net, case, check, connect, echo, pattern, recv_all
from service import until

peer.start()
net = Net()
work = tempfile.TemporaryDirectory()
service = peer.Service(net, os.path.join(work.name, "zstackd.sock"))


@contextlib.contextmanager
def server(mode):
    s = peer.Attached(net, service, os.path.join(peer.build, "test/interop/fork_server"), mode, ready="ready")
    try:
        yield s
        check("fork_server:" not in s.errors(), s.errors())
    finally:
        s.end()


def at_once(n, size=100000):
    wrong = []

    def one(i):
        data = pattern(size, i)
        try:
            if echo(connect(ZS4), data) != data:
                wrong.append(i)
        except OSError as e:
            wrong.append(f"{i}: {e}")

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not wrong, f"of {n} connections these differ or broke: {wrong}")


@case
def a_child_for_each_connection():
    with server("each"):
        at_once(24)


@case
def workers_share_a_listener():
    with server("workers") as s:
        for _ in range(4):
            at_once(16)
        children = set(re.findall(r"process (\d+), user 0\) attached, a child", service.errors()))
        check(len(children) >= 4, f"the service knows the children {children}")
        check(s.alive(), "the parent ended")


@case
def a_parent_that_ends_leaves_its_sockets_to_the_child():
    with server("daemon") as s:
        check(s.wait(10) == 0, "the parent failed")
        for i in range(3):
            data = pattern(300000, i)
            check(echo(connect(ZS4), data) == data, "what came back differs")


@case
def parent_and_child_read_in_turn():
    with server("turns"):
        data = pattern(200000)
        check(echo(connect(ZS4), data) == data, "what came back differs")


@case
def parent_and_child_read_in_runs():
    """Who reads some times in a row has a lease of the stream, which the other ends."""
    with server("runs"):
        data = pattern(3000000)
        check(echo(connect(ZS4), data) == data, "what came back differs")


@case
def one_reads_and_the_other_keeps():
    with server("keeps"):
        for i in range(3):
            data = pattern(2000000, i)
            check(echo(connect(ZS4), data) == data, "what came back differs")


@case
def what_a_reader_leaves_unread_is_the_others():
    with server("heir"):
        data = pattern(200000)
        check(echo(connect(ZS4), data) == data, "what came back differs")


@case
def unread_data_is_the_childs_too():
    with server("unread"):
        s, data = connect(ZS4), pattern(60000)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        check(recv_all(s) == data, "what came back differs")


@case
def connections_that_nobody_accepted_are_the_childrens_too():
    with server("late") as s:
        first = connect(ZS4)
        waiting, data = [connect(ZS4) for _ in range(9)], pattern(70000)
        for w in waiting[:5]:
            w.sendall(data)
        first.sendall(b"x")
        for w in waiting[5:]:
            w.sendall(data)
        for w in waiting:
            w.shutdown(socket.SHUT_WR)
            check(recv_all(w) == data, "what came back differs")
        at_once(8)
        check(s.alive(), "the parent ended")


@case
def a_worker_that_is_killed_takes_nothing_along():
    with server("workers") as s:
        at_once(8)
        pids = re.findall(r"process (\d+), user 0\) attached, a child", service.errors())[-4:]
        for pid in pids[:3]:
            os.kill(int(pid), signal.SIGKILL)
        for i in range(8):
            data = pattern(50000, i)
            check(echo(connect(ZS4), data) == data, "what came back differs")
        check(s.alive(), "the parent ended")


@case
def programs_of_one_user_share_a_port():
    with server("reuse") as a, server("reuse") as b, server("reuse") as c:
        got = [recv_all(connect(ZS4)).decode() for _ in range(120)]
        for s in (a, b, c):
            n = got.count(str(s.process.pid))
            check(n >= 15, f"one of three served {n} of {len(got)} connections")
    with server("reuse") as s:
        check(recv_all(connect(ZS4)).decode() == str(s.process.pid), "the port is not the new one's")


def attached():
    """How many programs this service has seen."""
    return service.errors().count(") attached")


def accepts():
    try:
        return echo(connect(ZS4), b"?") == b"?"
    except OSError:
        return False


@case
def workers_outlive_the_service():
    """H38: each makes the listener again, and they share its port; the parent, which accepts nothing, does not."""
    global service
    before = attached()
    with server("workers") as s:
        at_once(8)
        until("all workers are there", lambda: attached() == before + 5, 60)
        service.process.kill()
        service.process.wait()
        service = peer.Service(net, service.path)
        until("all workers are back", lambda: attached() >= 4, 60)
        until("they listen again", accepts, 60)
        for _ in range(3):
            at_once(16)
        check(s.alive(), "the parent ended")
        check(not s.errors(), s.errors())


@case
def a_child_forked_without_a_service_is_served_by_the_next():
    """H38: it shares the listener with its parent there."""
    global service
    with server("outage") as s:
        service.process.kill()
        service.process.wait()
        s.process.send_signal(signal.SIGUSR1)
        s.await_line(r"child \d+")
        both = {str(s.process.pid), re.search(r"child (\d+)", s.output())[1]}
        check(s.alive(), "the parent ended")
        service = peer.Service(net, service.path)
        seen = set()

        def serve():
            with contextlib.suppress(OSError):
                seen.add(recv_all(connect(ZS4)).decode())
            return both <= seen
        until("both serve", serve, 30)
        check(not s.errors(), s.errors())


@case
def the_service_ends_in_order():
    check(service.alive(), service.errors())
    check(service.stop() == 0, service.errors())


peer.run(90)
