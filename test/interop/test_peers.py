#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Peers that lack parts of TCP, and links with another MTU (HOSTILE H25)."""
import peer
from peer import LINUX6, ZS4, ZS6, Net, Program, case, check, check_echo, connect, pattern, sh

peer.start()
net = Net("af_packet")
server = Program(net, "echo", "7")
DEFAULTS = {"tcp_sack": 1, "tcp_timestamps": 1, "tcp_window_scaling": 1, "tcp_ecn": 2}


def with_peer(**settings):
    for name, value in {**DEFAULTS, **settings}.items():
        sh(f"sysctl -qw net.ipv4.{name}={value}")
    for addr in (ZS4, ZS6):
        check_echo(connect(addr), pattern(4 << 20))


@case
def without_sack():
    with_peer(tcp_sack=0)


@case
def without_timestamps():
    with_peer(tcp_timestamps=0)


@case
def without_window_scaling():
    with_peer(tcp_window_scaling=0)


@case
def without_any_option():
    with_peer(tcp_sack=0, tcp_timestamps=0, tcp_window_scaling=0)


@case
def that_asks_for_ecn():
    with_peer(tcp_ecn=1)


@case
def with_every_option():
    with_peer()


@case
def with_a_small_mss():
    for size in (536, 88):
        check_echo(connect(ZS4, TCP_MAXSEG=size), pattern(200_000))


@case
def path_mtu_shrinks_in_a_connection():
    """RFC 1191, RFC 8201: a router in between says that packets are too big. The router is the peer:
    behind it is another namespace on a link of MTU 1280."""
    behind = peer.new_namespace()
    path = f"/proc/{peer.os.getpid()}/fd/{behind}"
    sh("ip link add wide mtu 1500 type veth peer name host mtu 1500 && ip link set wide up"
       f" && ip link set host netns {path}"
       " && ip addr add 10.9.0.1/24 dev wide && ip addr add fd09::1/64 dev wide nodad"
       " && sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    host = net.beside()
    host.far = behind
    try:
        host.far_sh("ip link set lo up; ip link set host up; ip addr add 10.9.0.2/24 dev host;"
                    "ip addr add fd09::2/64 dev host nodad; ip route add default via 10.9.0.1;"
                    "ip -6 route add default via fd09::1")
        with Program(net, "echo", "8", "--gateway", peer.LINUX4, "--gateway", LINUX6,
                     addrs=["10.7.0.9/24", "fd07::9/64"]) as other:
            far_python(host, "10.7.0.9", "fd07::9")
            check(other.alive(), other.errors())
    finally:
        sh("ip link del wide", ok=False)


def narrow(far, mtu):
    sh(f"ip link set wide mtu {mtu}")
    far.far_sh(f"ip link set host mtu {mtu}")


def far_python(far, *addrs):
    """In the namespace behind the router: a transfer, after whose first half the link narrows."""
    script = f"""
import sys, subprocess, threading
sys.path.insert(0, {peer.os.path.dirname(peer.os.path.abspath(__file__))!r})
import peer
for addr in {addrs!r}:
    s = peer.connect(addr, 8, timeout=20)
    data = peer.pattern(2 << 20)
    peer.check(peer.echo(s, data, half_close=False) == data, addr + ": wide link")
    print(addr, "wide", flush=True)
    sys.stdin.readline()
    peer.check(peer.echo(s, data, half_close=False) == data, addr + ": narrow link")
    print(addr, "narrow", flush=True)
    sys.stdin.readline()
"""
    p = peer.subprocess.Popen([peer.sys.executable, "-c", script], preexec_fn=far.go_far, text=True,
                              stdin=peer.subprocess.PIPE, stdout=peer.subprocess.PIPE,
                              stderr=peer.subprocess.STDOUT)
    for addr in addrs:
        line = p.stdout.readline()
        check(line == f"{addr} wide\n", line + p.stdout.read() if "wide" not in line else line)
        narrow(far, 1280)
        p.stdin.write("\n")
        p.stdin.flush()
        line = p.stdout.readline()
        check(line == f"{addr} narrow\n", line + p.stdout.read() if "narrow" not in line else line)
        narrow(far, 1500)
        p.stdin.write("\n")
        p.stdin.flush()
    check(p.wait(10) == 0, "the peer behind the router")


@case
def ipv6_alone():
    with Program(net, "echo", "9", addrs=["fd07::a/64"]):
        check_echo(connect("fd07::a", 9), pattern(1 << 20))


@case
def server_ends_cleanly():
    check(server.stop() == 0, server.errors())


peer.run(100)
