#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Programs and links that come and go: restarts, kill -9, a link that is down or vanishes."""
import contextlib
import os
import signal
import threading
import time

import peer
from peer import LINUX6, ZS4, ZS6, Net, Program, case, check, check_echo, connect, digest, pattern, recv_all, sh

peer.start()
net = Net("af_packet")


@case
def signals_end_it_cleanly():
    for sig in (signal.SIGINT, signal.SIGTERM):
        p = Program(net, "echo", "7")
        s = connect()
        s.sendall(b"x")
        check(recv_all(s, 1) == b"x", "echo")
        check(p.stop(sig) == 0, p.errors())
        check("bytes copied by the API: 0" in p.errors(), p.errors())
        try:
            check(s.recv(1) == b"", "the peer was told nothing")
        except ConnectionResetError:
            pass
        s.close()


@case
def what_is_not_acknowledged_at_the_end_is_reset():
    """RFC 9293 §3.10.5: the peer must not take what arrived for all of it."""
    p = Program(net, "echo", "7", "--linger", "200")
    idle, s = connect(), connect(SO_RCVBUF=4096)
    s.settimeout(2)
    with contextlib.suppress(TimeoutError):
        s.sendall(pattern(4 << 20))
    check(p.stop() == 0, p.errors())
    try:
        recv_all(s)
        check(False, "the stream ended as if it were whole")
    except ConnectionResetError:
        pass
    idle.settimeout(5)
    check(idle.recv(1) == b"", "FIN of a connection with nothing to send")
    for c in (idle, s):
        c.close()


@case
def restart_on_the_same_port():
    for _ in range(3):
        with Program(net, "echo", "7"):
            for addr in (ZS4, ZS6):
                check_echo(connect(addr), pattern(100_000))


@case
def kill_leaves_nothing_and_a_new_one_serves():
    left = []
    for _ in range(3):
        p = Program(net, "echo", "7")
        s = connect()
        s.sendall(b"x")
        s.recv(1)
        p.process.kill()
        p.process.wait()
        left += [f for d in ("/dev/shm", "/dev/hugepages", "/var/run/dpdk", "/tmp") if os.path.isdir(d)
                 for f in os.listdir(d) if str(p.process.pid) in f]
        with Program(net, "echo", "7"):
            check_echo(connect(), pattern(100_000))
            s.settimeout(10)
            try:  # the new stack does not know the connection: RFC 9293 §3.5.1
                s.sendall(b"y")
                check(s.recv(1) == b"", "the dead answered")
            except (ConnectionResetError, BrokenPipeError):
                pass
    check(not left, f"left behind: {left}")


@case
def transfer_survives_a_link_that_is_down_for_a_while():
    with Program(net, "echo", "7"):
        data, result = pattern(64 << 20), []

        def transfer():
            with contextlib.suppress(Exception):
                result.append(digest(peer.echo(connect(timeout=40), data)))
        t = threading.Thread(target=transfer)
        t.start()
        time.sleep(0.1)
        sh(f"ip link set {net.dev} down")
        time.sleep(1)
        sh(f"ip link set {net.dev} up && ip addr replace {LINUX6}/64 dev {net.dev} nodad")
        t.join(45)
        check(result == [digest(data)], "the transfer failed")


@case
def program_tells_when_its_link_vanishes():
    gone = Net.__new__(Net)
    gone.link, gone.dev, gone.far = "af_packet", "other0", net.far
    sh(f"ip link add other0 type veth peer name zs1 && ip link set zs1 netns /proc/{os.getpid()}/fd/{net.far}"
       " && ip link set other0 up && ip addr add 10.6.0.1/24 dev other0")
    net.far_sh("sysctl -qw net.ipv6.conf.zs1.disable_ipv6=1; ip link set zs1 up")
    p = Program(gone, "echo", "7", addrs=["10.6.0.2/24"], vdev="net_af_packet0,iface=zs1")
    check_echo(connect("10.6.0.2"), pattern(1000))
    sh("ip link del other0")
    check(p.wait(15) != 0, f"exit 0: {p.errors()}")
    lines = [line for line in p.errors().splitlines() if "zs1" in line or "net_af_packet0" in line]
    check(lines, f"no line says which port is gone: {p.errors()}")


peer.run(90)
