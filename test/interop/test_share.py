#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An address that zstackd shares with the kernel (--share): programs of the kernel's and programs attached to the
service answer at it at the same time, and neither resets what is the other's.

    ┌ this process: the peer ┐  veth  ┌ zstackd ── programs attached to it     ┐
    │ 10.7.0.1, fd07::1      ├────────┤    │ zsk0, 10.7.0.2, fd07::2           │
    └────────────────────────┘        └ the kernel ── programs of the kernel's ┘
"""
import contextlib
import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import peer
import service
from peer import LINUX4, LINUX6, ZS4, ZS6, Attached, Failed, Net, case, check, check_echo, connect, pattern, sh
from service import App, Service, nothing_left, until

peer.start()
if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 6):
    print("1..0 # SKIP sharing a port of af_packet needs Linux 6.6")
    sys.exit(0)
service.install()
shutil.copy(os.path.join(peer.build, "test", "interop", "share_app"), service.folder)
net = Net("af_packet")
BOTH = (ZS4, ZS6)
SHARE = ("--share", "zsk0")

KERNEL_SERVER = """
import socket, sys, threading
def serve(s):
    while data := s.recv(65536):
        s.sendall(data)
    s.close()
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("::", int(sys.argv[1])))
s.listen(64)
print("listening", flush=True)
while True:
    c, _ = s.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
"""


def kernel(code, *args, ready=None):
    """A Python program in the kernel's namespace that knows nothing of Z-Stack."""
    return Attached(net, None, sys.executable, "-u", "-c", code, *map(str, args), ready=ready)


@contextlib.contextmanager
def kernel_server(port):
    p = kernel(KERNEL_SERVER, port, ready="listening")
    try:
        yield p
    finally:
        p.end()


def in_the_kernel(work):
    """The result of a function that runs in the service's namespace."""
    result = []

    def run():
        peer.libc.setns(net.far, peer.CLONE_NEWNET)
        result.append(work())
    t = threading.Thread(target=run)
    t.start()
    t.join()
    check(result, "it did not come back")
    return result[0]


def kernel_bind(kind, addr, port, reuse=False):
    """What a program of the kernel's gets from bind and listen: "0", or the name of the error."""
    def work():
        s = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET,
                          socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        try:
            s.bind((addr, port))
            if kind == "tcp":
                s.listen(1)
            return "0"
        except OSError as e:
            return errno.errorcode[e.errno]
        finally:
            s.close()
    return in_the_kernel(work)


class Sockets:
    """share_app, a program that opens sockets on demand."""

    def __init__(self, s):
        self.ask, stdin = None, subprocess.PIPE
        self.app = App(s, "share_app", stdin=stdin)
        self.said = 1

    def __call__(self, *words):
        """The numbers that it answers."""
        self.app.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.app.process.stdin.flush()
        self.said += 1
        until(f"an answer to {words}", lambda: self.app.output().count("\n") >= self.said)
        return [int(n) for n in self.app.output().split("\n")[self.said - 1].split()]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.app.process.stdin.close()
        if kind is None and self.app.process.returncode is None:
            check(self.app.wait(20) == 0, self.app.errors())
        self.app.__exit__(kind, value, trace)


@contextlib.contextmanager
def shared(*args):
    with Service(net, *SHARE, *args) as s:
        yield s
    nothing_left(s)
    check("zsk0" not in net.far_sh("ip -br link"), "the interface is still there")


@case
def both_serve_at_one_address_at_the_same_time():
    with shared() as s, kernel_server(2222), App(s, "echo", 7) as e:
        data = pattern(2 << 20)
        threads = []
        bad = []

        def one(addr, port):
            try:
                check_echo(connect(addr, port), data)
            except Exception as x:
                bad.append(f"{addr} {port}: {x}")
        for addr in BOTH:
            for port in (7, 2222):
                threads.append(threading.Thread(target=one, args=(addr, port)))
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(not bad, bad)


@case
def ports_are_taken_on_both_sides():
    """EADDRINUSE, whoever is second; at other addresses of the kernel's a port stays free."""
    with shared() as s, Sockets(s) as z, kernel_server(2222):
        for addr in ("0.0.0.0", "::", ZS4, ZS6):
            check(z("listen", addr, 2222)[0] == -errno.EADDRINUSE, f"we got the kernel's port at {addr}")
            r, fd, port = z("listen", addr, 80)
            check((r, port) == (0, 80), f"{addr}: {r}")
            check(kernel_bind("tcp", ZS4 if "." in addr else ZS6, 80) == "EADDRINUSE", f"the kernel got our port, {addr}")
            check(kernel_bind("tcp", "0.0.0.0" if "." in addr else "::", 80) == "EADDRINUSE", "as wildcard")
            check(kernel_bind("tcp", ZS4 if "." in addr else ZS6, 80, reuse=True) == "EADDRINUSE", "with SO_REUSEADDR")
            check(kernel_bind("tcp", "127.0.0.1" if "." in addr else "::1", 80) == "0", "loopback was taken, too")
            check(kernel_bind("udp", ZS4, 80) == "0", "the port of UDP was taken, too")
            z("close", fd)
            until("the port is free again", lambda: kernel_bind("tcp", addr, 80) == "0")
        for addr in ("0.0.0.0", "::"):
            r, fd, _ = z("udp", addr, 53)
            check(r == 0, f"udp {addr}: {r}")
            check(kernel_bind("udp", ZS4, 53) == "EADDRINUSE", "the kernel got our port of UDP")
            check(kernel_bind("tcp", ZS4, 53) == "0", "the port of TCP was taken, too")
            z("close", fd)
            until("the port is free again", lambda: kernel_bind("udp", ZS4, 53) == "0")


@case
def a_bind_that_fails_keeps_no_port():
    with shared() as s, Sockets(s) as z:
        check(z("listen", "192.0.2.9", 80)[0] == -errno.EADDRNOTAVAIL, "a stranger's address was bound")
        check(z("listen", ZS4, 81)[0] == 0 and z("listen", ZS4, 81)[0] == -errno.EADDRINUSE, "bound twice")
        check(kernel_bind("tcp", ZS4, 81) == "EADDRINUSE", "the second bind gave the first one's port away")
        until("80 is free", lambda: kernel_bind("tcp", "0.0.0.0", 80) == "0")


@case
def ports_of_a_program_that_is_killed_are_free():
    with shared() as s:
        with Sockets(s) as z:
            check(z("listen", "::", 80)[0] == 0 and z("udp", "::", 53)[0] == 0, "no bind")
            check(kernel_bind("tcp", ZS4, 80) == "EADDRINUSE", "not reserved")
            z.app.kill()
        until("they are free", lambda: kernel_bind("tcp", "::", 80) == kernel_bind("udp", "::", 53) == "0")


@case
def what_is_released_does_not_go_under_a_second_holder():
    """Two programs share a port; it stays taken until both are through with it."""
    with shared() as s, App(s, "echo", 7) as e:
        with App(s, "echo", 7, ready=None) as second:
            check(second.wait(20) != 0, "two programs without SO_REUSEPORT have one port")
            second.process.returncode = 0
        check(kernel_bind("tcp", ZS4, 7) == "EADDRINUSE", "the one that failed gave the port away")
        check_echo(connect(ZS4, 7), pattern(1000))


@case
def ephemeral_ports_are_disjoint():
    """Ports that are chosen, of connections, of datagrams, and by bind to port 0."""
    ours, kernels = range(10000, 32768), range(32768, 61000)
    listener = peer.listen(LINUX4)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((LINUX4, 0))
    udp.settimeout(5)
    net.far_sh("sysctl -qw net.ipv4.ip_local_port_range='32768 60999'")
    to = listener.getsockname()[1], udp.getsockname()[1]
    with shared() as s, Sockets(s) as z:
        check("ephemeral ports: 10000 to 32767" in s.errors(), s.errors())
        for _ in range(20):
            r, fd, port = z("connect", LINUX4, to[0])
            check(r == 0 and port in ours, f"connect: {r}, port {port}")
            check(listener.accept()[0].getpeername()[1] == port, "not the port that it says")
            z("close", fd)
            for how in ("send", "ask"):
                r, fd, port = z(how, LINUX4, to[1])
                check(r == 0 and port in ours, f"{how}: {r}, port {port}")
                check(udp.recvfrom(10)[1] == (ZS4, port), "not the port that it says")
                check(kernel_bind("udp", ZS4, port) == "EADDRINUSE", "a chosen port is not reserved")
                z("close", fd)
            r, fd, port = z("listen", "0.0.0.0", 0)
            check(r == 0 and port in ours, f"listen: {r}, port {port}")
            z("close", fd)
            port = in_the_kernel(lambda: socket.create_connection((LINUX4, to[0])).getsockname()[1])
            check(port in kernels, f"the kernel's port is {port}")
            listener.accept()[0].close()
    listener.close()
    udp.close()


def snmp(what):
    """A counter of the kernel's, in the service's namespace: Tcp.OutRsts."""
    proto, name = what.split(".")
    rows = [l.split() for l in net.far_sh("cat /proc/net/snmp").splitlines() if l.startswith(proto + ":")]
    return int(rows[1][rows[0].index(name)])


def counters(s):
    """All of zstack stat."""
    o = json.loads(zstack(s, "--json", "stat"))
    return {**o["counters"], **o["gauges"], **o["drops"]}


def zstack(s, *args):
    p = subprocess.run([os.path.join(peer.build, "tools/zstack"), "--socket", s.path, *args], text=True, timeout=20,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    check(p.returncode == 0, f"zstack {args}: {p.stdout}")
    return p.stdout


def refused(addr, port):
    try:
        connect(addr, port).close()
    except ConnectionRefusedError:
        return True
    return False


@case
def connections_of_both_stay_and_nobody_resets_the_other():
    with shared() as s, kernel_server(2222), App(s, "echo", 7):
        socks = [connect(a, p) for a in BOTH for p in (7, 2222) for _ in range(8)]
        resets, ours = snmp("Tcp.OutRsts"), counters(s)["tcp_out_rsts"]
        data = pattern(20000)
        for _ in range(3):
            for c in socks:
                c.sendall(data)
            for c in socks:
                check(peer.recv_all(c, len(data)) == data, "other bytes came back")
        for c in socks:
            c.shutdown(socket.SHUT_WR)
            check(peer.recv_all(c) == b"", "more came back")
            c.close()
        # The kernel's side of both ways of ending is over, TIME-WAIT included.
        check(snmp("Tcp.OutRsts") == resets, "the kernel reset something")
        check(counters(s)["tcp_out_rsts"] == ours, "we reset something")
        for a in BOTH:
            check(refused(a, 4444), "a port that nobody has was not refused")
        check(snmp("Tcp.OutRsts") == resets + 2, "it was not the kernel that refused")
        check(counters(s)["tcp_out_rsts"] == ours, "we refused, too")


@case
def the_kernel_answers_pings_and_closed_ports():
    with shared() as s, App(s, "echo", 7):
        for addr in BOTH:
            said = sh(f"ping -c 3 -i 0.2 -W 5 {addr}")
            check("3 received" in said and "DUP" not in said, said)
            said = sh(f"ping -c 2 -i 0.2 -W 5 -s 4000 {addr}")  # in fragments
            check("2 received" in said, said)
            u = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_DGRAM)
            u.settimeout(5)
            u.connect((addr, 33434))
            u.send(b"x")
            try:
                u.recv(1)
                raise Failed("somebody answered")
            except ConnectionRefusedError:
                pass
            u.close()
        c = counters(s)
        check(c["ip_icmp_errors_out"] == 0 and c["ip_icmp_echo_in"] == 0, f"we answered: {c}")
        check_echo(connect(ZS4, 7), pattern(1000))


@case
def the_kernels_own_connections_and_pings_go_out():
    sock = {a: peer.listen(a) for a in (LINUX4, LINUX6)}
    with shared() as s, App(s, "echo", 7):
        for to, own in ((LINUX4, ZS4), (LINUX6, ZS6)):
            t, result = peer.serve_once(sock[to], peer.recv_all)
            data = pattern(1 << 20)

            def send(to=to, data=data):
                with socket.create_connection((to, sock[to].getsockname()[1]), timeout=20) as c:
                    c.sendall(data)
                    return c.getsockname()[0]
            check(in_the_kernel(send) == own, "not from the shared address")
            t.join(20)
            check(result == [data], "other bytes arrived")
            said = net.far_sh(f"ping -c 2 -i 0.2 -W 5 {to}")
            check("2 received" in said, said)
            check_echo(connect(own, 7), pattern(100000))
        # An ICMP error about the kernel's flow, at a port of the peer's that is closed.
        def ask():
            u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            u.settimeout(5)
            u.connect((LINUX4, 4545))
            u.send(b"x")
            try:
                u.recv(1)
            except ConnectionRefusedError:
                return True
            return False
        check(in_the_kernel(ask), "the kernel did not hear that its datagram was refused")
    for c in sock.values():
        c.close()


KERNEL_UDP = """
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 5353))
print("listening", flush=True)
while True:
    data, who = s.recvfrom(65536)
    s.sendto(data, who)
"""


def udp_round(addr, port, n):
    with socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.settimeout(1)
        data = pattern(n)
        for _ in range(10):
            u.sendto(data, (addr, port))
            with contextlib.suppress(TimeoutError):
                check(u.recv(65536) == data, "another datagram came back")
                return
    raise Failed(f"no answer from {addr}, port {port}, {n} bytes")


@case
def datagrams_find_their_side_in_fragments_too():
    with shared() as s, App(s, "udp_echo", 7):
        k = kernel(KERNEL_UDP, ready="listening")
        for addr in BOTH:
            for port in (7, 5353):
                for n in (1, 1400, 5000, 40000):
                    udp_round(addr, port, n)
        k.end()
        check(counters(s)["frag_bad"] == 0, "a datagram could not be put together for the kernel")


@case
def one_answer_to_who_has_the_address():
    """Twice the same MAC would do no harm; but one who answers is enough, and it is us."""
    eth = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    eth.bind((net.dev, 0))
    mine = eth.getsockname()[4]
    ask = (b"\xff" * 6 + mine + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04\x00\x01" + mine +
           socket.inet_aton(LINUX4) + b"\0" * 6)
    with shared() as s:
        # An address that the kernel alone has at the interface.
        net.far_sh("ip addr add 10.7.0.77/24 dev zsk0")
        eth.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while eth.recv(100):
                pass
        for addr in (ZS4, "10.7.0.77"):
            eth.send(ask + socket.inet_aton(addr))
            answers = []
            eth.settimeout(1)
            with contextlib.suppress(TimeoutError):
                while True:
                    f = eth.recv(100)
                    if f[20:22] == b"\x00\x02" and f[28:32] == socket.inet_aton(addr):
                        answers.append(f[6:12])
                        eth.settimeout(0.3)
            check(len(answers) == 1, f"{len(answers)} answers for {addr}")
        sh("ip neigh flush dev linux0", ok=False)
        said = sh("ping -c 1 -W 5 10.7.0.77")
        check("1 received" in said, said)
    eth.close()


@case
def addresses_come_and_go_on_both_sides():
    with shared() as s, kernel_server(2222), App(s, "echo", 7):
        said = zstack(s, "addr")
        check(re.search(rf"{ZS4}/24 .*valid, the kernel's at zsk0", said), said)
        zstack(s, "addr", "add", "10.7.0.9/24")
        for port in (7, 2222):
            check_echo(connect("10.7.0.9", port), pattern(1000))
        check(kernel_bind("tcp", "10.7.0.9", 7) == "EADDRINUSE", "a port of the new address is not reserved")
        zstack(s, "addr", "del", "10.7.0.9")
        check("10.7.0.9" not in net.far_sh("ip addr show dev zsk0"), "the kernel still has the address")
        zstack(s, "route", "add", "192.0.2.0/24", "via", LINUX4)
        check("192.0.2.0/24 via 10.7.0.1" in net.far_sh("ip route"), "the kernel lacks the route")
        zstack(s, "route", "del", "192.0.2.0/24", "via", LINUX4)
        check("192.0.2.0/24" not in net.far_sh("ip route"), "the kernel keeps the route")
        check(counters(s)["service_reserved_ports"] == 1, f"{counters(s)['service_reserved_ports']} ports reserved")


@case
def what_the_kernel_has_elsewhere_is_not_shared():
    net.far_sh(f"ip addr add {ZS4}/32 dev lo")
    s = Service(net, *SHARE, ready=None)
    said = s.refused_to_start()
    net.far_sh(f"ip addr del {ZS4}/32 dev lo")
    check("the kernel has it at lo" in said, said)


@case
def connections_of_the_kernels_outlive_a_service_that_is_killed():
    with kernel_server(2222) as k:
        s = Service(net, *SHARE)
        c = connect(ZS4, 2222)
        c.sendall(b"one")
        check(peer.recv_all(c, 3) == b"one", "no echo")
        s.process.kill()
        s.process.wait()
        until("the interface is gone", lambda: "zsk0" not in net.far_sh("ip -br link"))
        c.sendall(b"two")
        with Service(net, *SHARE, path=s.path):
            check(peer.recv_all(c, 3) == b"two", "the connection did not go on")
            c.close()


@case
def h24_a_flood_of_unknown_tuples_leaves_the_rest_to_ours():
    """SYNs to closed ports and datagrams for nobody, as fast as this process sends them; echoes go on."""
    end = threading.Event()

    def flood():
        raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        n = 0
        while not end.is_set():
            n += 1
            with contextlib.suppress(OSError):
                raw.sendto(b"x" * 40, (ZS4, 20000 + n % 10000))
        raw.close()
    with shared() as s, App(s, "echo", 7):
        c = connect(ZS4, 7, timeout=20)
        threads = [threading.Thread(target=flood) for _ in range(2)]
        for t in threads:
            t.start()
        try:
            for _ in range(50):
                data = pattern(2000)
                c.sendall(data)
                check(peer.recv_all(c, len(data)) == data, "other bytes came back")
            until("strangers reach the kernel", lambda: counters(s)["kernel_rx_packets"] > 1000)
        finally:
            end.set()
            for t in threads:
                t.join()
        check_echo(c, pattern(1 << 20))
        check(counters(s)["udp_no_port"] == 0, "a stranger was dropped by us")


@case
def an_unmodified_server_is_at_loopback_too():
    """zstack run: a listener at the wildcard address is ours at the shared address, the kernel's at loopback."""
    run = [os.path.join(peer.build, "tools/zstack"), "run", "--service"]
    with shared() as s:
        p = Attached(net, s, *run, s.path, "--", sys.executable, "-u", "-c", KERNEL_SERVER, "2222", ready="listening")
        check(kernel_bind("tcp", ZS4, 2222) == "EADDRINUSE", "the port is not reserved")
        rx = counters(s)["kernel_rx_packets"]
        for a in BOTH:
            check_echo(connect(a, 2222), pattern(100000))
        check(counters(s)["kernel_rx_packets"] - rx < 20, "the kernel served it")

        def near():
            with socket.create_connection(("127.0.0.1", 2222), timeout=10) as c:
                return peer.echo(c, b"near")
        check(in_the_kernel(near) == b"near", "not at loopback")
        p.end()


@case
def programs_of_ours_reach_the_kernels_at_the_shared_address():
    """And those of ours, where they have the port."""
    with shared() as s, kernel_server(2222), App(s, "echo", 7), Sockets(s) as z:
        data = pattern(1 << 20)
        path = os.path.join(service.folder, "self")
        with open(path, "wb") as f:
            f.write(data)
        for addr in BOTH:
            before = counters(s)["kernel_rx_packets"]
            for port in (2222, 7):
                with open(path, "rb") as f, App(s, "client", addr, port, ready=None, stdin=f) as c:
                    check(c.wait() == 0, f"{addr} {port}: {c.errors()}")
                    c.log.seek(0)
                    check(c.log.read() == data, f"{addr} {port}: other bytes came back")
            check(counters(s)["kernel_rx_packets"] > before + 100, "it was not the kernel")
            check(z("connect", addr, 4444)[0] == -errno.ECONNREFUSED, "nobody listens there")
            check_echo(connect(addr, 2222), pattern(1000))
            check_echo(connect(addr, 7), pattern(1000))


@case
def several_cores_share_with_the_kernel():
    if len(os.sched_getaffinity(0)) < 2:
        raise peer.Skip("one CPU")
    a, b = sorted(os.sched_getaffinity(0))[:2]
    with shared("--cores", f"{a},{b}") as s, kernel_server(2222), App(s, "echo", 7), Sockets(s) as z:
        for addr in BOTH:
            for port in (7, 2222) * 6:
                check_echo(connect(addr, port), pattern(20000))
            check("2 received" in sh(f"ping -c 2 -i 0.2 -W 5 {addr}"), "no ping")
        for _ in range(5):
            r, fd, port = z("listen", "::", 80)
            check(r == 0 and kernel_bind("tcp", ZS4, 80) == "EADDRINUSE", f"listen: {r}")
            z("close", fd)
            until("the port is free", lambda: kernel_bind("tcp", ZS4, 80) == "0")
            r, fd, port = z("send", LINUX4, 9)
            check(r == 0, f"send: {r}")
            z("close", fd)
            until("its port is free", lambda: kernel_bind("udp", ZS4, port) == "0")
        check(counters(s)["service_reserved_ports"] == 1, "more than echo's port is reserved")


@case
def the_service_refuses_to_start_without_ports_of_its_own():
    net.far_sh("sysctl -qw net.ipv4.ip_local_port_range='1024 65535'")
    s = Service(net, *SHARE, ready=None)
    said = s.refused_to_start()
    net.far_sh("sysctl -qw net.ipv4.ip_local_port_range='32768 60999'")
    check("leaves none for the stack" in said, said)


peer.run()
