#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""IP and neighbours against Linux: ping, fragments, addresses, VLAN, ICMP errors: test_ip.py [LINK [MTU [plain]]]."""
import re
import socket
import struct
import sys
import tempfile
import time

import peer
from peer import LINUX4, ZS4, ZS6, Net, Program, Skip, case, check, connect, pattern, sh

peer.start()
net = Net(sys.argv[1] if len(sys.argv) > 1 else "af_packet", mtu=int(sys.argv[2]) if len(sys.argv) > 2 else 1500,
          offloads="plain" not in sys.argv)
EXTRA4, EXTRA6, VLAN4 = "10.7.0.3", "fd07::3", "10.8.0.2"
server = Program(net, "udp_echo", "7", addrs=peer.ADDRS + [f"{EXTRA4}/24", f"{EXTRA6}/64", f"{VLAN4}/24@0.5"])


def ping(addr, options=""):
    out = sh(f"ping -c3 -i0.05 -W2 {options} {addr}", ok=False)
    check(" 0% packet loss" in out, f"ping {options} {addr}: {out}")


@case
def ipv4_ping():
    ping(ZS4)


@case
def ipv6_ping():
    ping(ZS6)


@case
def ipv6_ping_to_link_local_address():
    """Made of the interface's address: RFC 4291 §2.5.1."""
    mac = bytes.fromhex(re.search(r"lladdr (\S+)", sh(f"ip neigh show {ZS6}")).group(1).replace(":", ""))
    eui = bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    ping(socket.inet_ntop(socket.AF_INET6, b"\xfe\x80" + bytes(6) + eui) + f"%{net.dev}")


@case
def ipv4_ping_in_fragments():
    for size in (1472, 1473, 1600, 1930, 1939, 1940, 1941, 1968, 3000, 8000, 60000, 65507):
        ping(ZS4, f"-s {size}")


@case
def ipv6_ping_in_fragments():
    for size in (1452, 1453, 3000, 8000, 60000, 65487):
        ping(ZS6, f"-s {size}")


@case
def every_address_answers():
    ping(EXTRA4)
    ping(EXTRA6)


@case
def neighbour_is_resolved_again_after_it_was_forgotten():
    for _ in range(3):
        sh(f"ip neigh flush dev {net.dev}")
        ping(ZS4)
        ping(ZS6)


@case
def linux_finds_the_address_in_use():
    """RFC 4862 §5.4.3, RFC 5227: a host that probes for our address is told that it is taken."""
    sh(f"ip addr add {ZS6}/64 dev {net.dev}")
    end = time.monotonic() + 5
    while "dadfailed" not in sh(f"ip -6 addr show dev {net.dev}") and time.monotonic() < end:
        time.sleep(0.1)
    out = sh(f"ip -6 addr show dev {net.dev}")
    sh(f"ip addr del {ZS6}/64 dev {net.dev}")
    check("dadfailed" in out, out)
    ping(ZS6)


class Tagged:
    """Frames in VLAN 5, by a raw socket: the kernel may have no VLAN devices."""
    AUXDATA, ETH_P_ALL = 8, 3

    def __init__(self):
        self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.ETH_P_ALL))
        self.s.bind((net.dev, self.ETH_P_ALL))
        self.s.setsockopt(263, self.AUXDATA, 1)  # SOL_PACKET
        self.s.settimeout(3)
        self.mac = self.s.getsockname()[4]

    def send(self, to, ethertype, payload):
        self.s.send(to + self.mac + struct.pack("!HHH", 0x8100, 5, ethertype) + payload)

    def recv(self, ethertype):
        """Source and payload of the next frame of this type in the VLAN."""
        while True:
            frame, aux, _, _ = self.s.recvmsg(2000, 100)
            status, tci = struct.unpack("=I12xH", aux[0][2][:18])
            if status & 0x10 and tci & 0xfff == 5 and frame[12:14] == struct.pack("!H", ethertype):
                return frame[6:12], frame[14:]


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


@case
def vlan_address_answers_in_its_vlan():
    """ARP and echo, IEEE 802.1Q; the untagged link has no such address."""
    t, us, they = Tagged(), socket.inet_aton("10.8.0.1"), socket.inet_aton(VLAN4)
    t.send(b"\xff" * 6, 0x806, struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + t.mac + us + bytes(6) + they)
    mac, arp = t.recv(0x806)
    check(arp[6:8] == b"\0\2" and arp[14:18] == they, f"ARP {arp.hex()}")
    icmp = bytearray(struct.pack("!BBHHH", 8, 0, 0, 7, 1) + b"payload.")
    icmp[2:4] = struct.pack("!H", checksum(icmp))
    ip = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0) + us + they)
    ip[10:12] = struct.pack("!H", checksum(ip))
    t.send(mac, 0x800, bytes(ip + icmp))
    _, packet = t.recv(0x800)
    check(packet[20] == 0 and packet[28:36] == b"payload.", f"echo reply {packet.hex()}")
    out = sh(f"ip route add {VLAN4} dev {net.dev}; ping -c1 -W1 {VLAN4}", ok=False)
    check("100% packet loss" in out, f"untagged: {out}")
    sh(f"ip route del {VLAN4}", ok=False)


def udp(addr, data, port=7):
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect((addr, port))
        s.send(data)
        return s.recv(65536)


@case
def udp_comes_back():
    for addr in (ZS4, ZS6):
        for size in (0, 1, 18, 1400):
            data = pattern(size)
            check(udp(addr, data) == data, f"{size} bytes from {addr}")


@case
def udp_comes_back_in_fragments():
    for addr in (ZS6, ZS4):
        for size in (1473, 1940, 1941, 1942, 4000, 16000, 60000, 65400):
            data = pattern(size)
            check(udp(addr, data) == data, f"{size} bytes from {addr}")


@case
def large_datagrams_come_back_in_order():
    for addr in (ZS6, ZS4):
        with socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            s.settimeout(5)
            s.connect((addr, 7))
            for round_ in range(20):
                data = [pattern(60000, round_ * 4 + i) for i in range(4)]
                for d in data:
                    s.send(d)
                for i, d in enumerate(data):
                    check(s.recv(65536) == d, f"{addr}, round {round_}: datagram {i}")


@case
def closed_udp_port_is_reported():
    """RFC 1122 §4.1.3.1: port unreachable reaches the sender's socket."""
    for addr in (ZS4, ZS6):
        try:
            udp(addr, b"x", 9999)
            check(False, f"{addr} answered")
        except ConnectionRefusedError:
            pass


@case
def closed_tcp_port_is_refused():
    for addr in (ZS4, ZS6):
        try:
            connect(addr, 9999, timeout=3).close()
            check(False, f"{addr} accepted")
        except ConnectionRefusedError:
            pass


@case
def udp_burst_is_answered_in_order():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect((ZS4, 7))
        for round_ in range(20):
            for i in range(32):
                s.send(b"%d %d" % (round_, i))
            for i in range(32):
                check(s.recv(100) == b"%d %d" % (round_, i), "datagrams lost or out of order")


def only_beside():
    if net.link != "af_packet":
        raise Skip("with af_packet, where two programs can share a link")


@case
def capture_has_what_was_on_the_wire():
    """pcapng: a section, an interface, and the echo request and its reply among the packets."""
    only_beside()
    with tempfile.NamedTemporaryFile(suffix=".pcapng") as f:
        with Program(net, "udp_echo", "9", "--capture", f.name, addrs=["10.7.0.20/24"]):
            ping("10.7.0.20", "-p 5a5374 -s 100")
        data, kinds, echoes, at = f.read(), [], 0, 0
        while at < len(data):
            kind, length = struct.unpack_from("<II", data, at)
            kinds.append(kind)
            echoes += kind == 6 and b"\x5a\x53\x74" * 20 in data[at:at + length]
            at += length
        check(kinds[:2] == [0x0a0d0d0a, 1] and 6 in kinds, f"blocks {kinds[:5]}")
        check(echoes == 6, f"{echoes} echo requests and replies")


@case
def address_in_use_is_refused():
    """RFC 4862 §5.4: the peer has the address already."""
    only_beside()
    sh(f"ip addr add fd07::c/64 dev {net.dev} nodad")
    p = Program(net, "udp_echo", "9", addrs=["fd07::c/64"], ready=None)
    rc = p.wait(15)
    sh(f"ip addr del fd07::c/64 dev {net.dev}")
    check(rc == 1 and "fd07::c: another host" in p.errors(), f"exit {rc}: {p.errors()}")


@case
def program_ends_cleanly():
    check(server.stop() == 0, server.errors())
    check(LINUX4 not in server.errors(), server.errors())


peer.run()
