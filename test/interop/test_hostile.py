#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Broken and hostile frames on the wire, by a raw socket, while a client is being served."""
import os
import random
import re
import socket
import struct
import tempfile

import peer
from peer import LINUX4, LINUX6, ZS4, ZS6, Net, Program, case, check, connect, sh

peer.start()
net = Net("af_packet")
folder = tempfile.TemporaryDirectory()
with open(os.path.join(folder.name, "index.html"), "wb") as f:
    f.write(b"hello")
server = Program(net, "http", folder.name, "80")
steady = connect(ZS4, 80)
rng = random.Random(2026)


def get(s):
    """One request on a connection that is kept."""
    s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\nhello"):
        data = s.recv(4096)
        check(data, "the connection was closed")
        head += data


def still_serves():
    """Damaged ARP and ND may have taught a wrong address of ours, as they could any host: ask again."""
    sh(f"ip neigh flush dev {net.dev}; ping -c1 -W1 {ZS4}; ping -c1 -W1 {ZS6}", ok=False)
    get(steady)
    for addr in (ZS4, ZS6):
        s = connect(addr, 80)
        get(s)
        s.close()


def stats():
    """The counters of the page /stats."""
    out = sh(f"curl -sS http://{ZS4}/stats")
    return {m.group(1): int(m.group(2)) for m in re.finditer(r"^(\S+) (\d+)", out, re.M)}


def drops():
    return sum(v for k, v in stats().items() if "drop" in k or "bad" in k)


still_serves()
ZS_MAC = bytes.fromhex(re.search(r"lladdr (\S+)", sh(f"ip neigh show {ZS4}")).group(1).replace(":", ""))
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
raw.bind((net.dev, 0))
OUR_MAC = raw.getsockname()[4]
A4, B4 = socket.inet_aton(LINUX4), socket.inet_aton(ZS4)
A6, B6 = socket.inet_pton(socket.AF_INET6, LINUX6), socket.inet_pton(socket.AF_INET6, ZS6)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def eth(ethertype, payload):
    return ZS_MAC + OUR_MAC + struct.pack("!H", ethertype) + payload


def ip4(proto, payload, src=A4, frag=0, options=b""):
    head = bytearray(struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(payload),
                                 rng.randrange(65536), frag, 64, proto, 0) + src + B4 + options)
    head[10:12] = struct.pack("!H", checksum(bytes(head)))
    return eth(0x800, bytes(head) + payload)


def ip6(proto, payload, src=A6):
    return eth(0x86dd, struct.pack("!IHBB", 6 << 28, len(payload), proto, 64) + src + B6 + payload)


def with_checksum(proto, segment, at, v6=False, src=None):
    pseudo = ((src or A6) + B6 + struct.pack("!II", len(segment), proto) if v6
              else (src or A4) + B4 + struct.pack("!HH", proto, len(segment)))
    s = bytearray(segment)
    s[at:at + 2] = b"\0\0"
    s[at:at + 2] = struct.pack("!H", checksum(pseudo + bytes(s)))
    return bytes(s)


def tcp(flags=2, options=b"", payload=b"", offset=None, sport=None, v6=False, src=None, port=80):
    offset = 5 + len(options) // 4 if offset is None else offset
    s = struct.pack("!HHIIBBHHH", sport or rng.randrange(1024, 65536), port, rng.randrange(1 << 32),
                    rng.randrange(1 << 32), offset << 4, flags, 65535, 0, rng.randrange(65536)) + options + payload
    s = with_checksum(6, s, 16, v6, src)
    return ip6(6, s, src or A6) if v6 else ip4(6, s, src or A4)


def icmp4(kind, code, rest):
    s = bytearray(struct.pack("!BBH", kind, code, 0) + rest)
    s[2:4] = struct.pack("!H", checksum(bytes(s)))
    return ip4(1, bytes(s))


def icmp6(kind, code, rest):
    return ip6(58, with_checksum(58, struct.pack("!BBH", kind, code, 0) + rest, 2, v6=True))


def samples():
    udp = struct.pack("!HHHH", 5, 7, 12, 0) + b"data"
    return [
        tcp(), tcp(v6=True), tcp(flags=0x10, payload=b"GET / HTTP/1.1\r\n"), tcp(flags=0x12), tcp(flags=4),
        tcp(options=b"\2\4\5\264\4\2\10\12" + bytes(8) + b"\1\3\3\7"), tcp(flags=0x3f, payload=b"x" * 100),
        ip4(17, with_checksum(17, udp, 6)), ip6(17, with_checksum(17, udp, 6, v6=True)),
        icmp4(8, 0, bytes(60)), icmp6(128, 0, bytes(60)),
        icmp4(3, 4, struct.pack("!HH", 0, 68) + tcp()[14:14 + 28]), icmp6(2, 0, struct.pack("!I", 1280) + tcp(v6=True)[14:62]),
        icmp6(135, 0, bytes(4) + B6 + b"\1\1" + OUR_MAC), icmp6(136, 0, b"\x60" + bytes(3) + A6 + b"\2\1" + OUR_MAC),
        icmp6(134, 0, bytes(12) + b"\1\1" + OUR_MAC),
        eth(0x806, struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + OUR_MAC + A4 + bytes(6) + B4),
        ip4(17, bytes(64), frag=0x2000), ip4(17, bytes(64), frag=0x1fff), ip4(6, bytes(8), frag=1),
        ip6(44, struct.pack("!BBHI", 17, 0, 1, 7) + bytes(32)),
        ip6(0, b"\6\0\1\4\0\0\0\0" + tcp(v6=True)[54:]), ip6(43, b"\6\2\0\1" + bytes(4) + B6 + bytes(40)),
        ip4(6, tcp()[34:], options=b"\x83\7\4" + A4 + b"\1"), ip4(6, tcp()[34:], options=b"\x07\0\0\0"),
    ]


def send(frames):
    for f in frames:
        raw.send(f[:1514])


@case
def truncated_frames():
    """H02, H03, H04, H20: each sample cut at each length."""
    before = drops()
    for s in samples():
        send(s[:n] for n in range(14, len(s)))
    still_serves()
    check(drops() > before, "no drop was counted")


@case
def damaged_frames():
    """H01-H05, H19, H21: random bytes changed; some of it with a valid checksum by luck of the field."""
    for _ in range(40):
        for s in samples():
            s = bytearray(s)
            for _ in range(rng.randrange(1, 6)):
                s[rng.randrange(12, len(s))] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)))
            send([bytes(s)])
    still_serves()


@case
def options_that_lie():
    """H01, H02 with valid checksums: length 0, 1, and past the end."""
    for kind in (2, 3, 4, 5, 8, 30, 34, 254):
        for length in (0, 1, 2, 3, 10, 40, 255):
            for flags in (2, 0x10, 0x12):
                send([tcp(flags, bytes([kind, length]) + bytes(10)), tcp(flags, bytes(9) + bytes([1, kind, length]), v6=True)])
    send(tcp(offset=n) for n in range(16))
    still_serves()


@case
def sources_that_can_not_be():
    """H17."""
    for src in ("10.7.0.2", "255.255.255.255", "224.0.0.1", "0.0.0.0", "127.0.0.1", "10.7.0.255"):
        send([tcp(src=socket.inet_aton(src)), tcp(flags=0x10, src=socket.inet_aton(src))])
    for src in ("fd07::2", "ff02::1", "::", "::1"):
        send([tcp(v6=True, src=socket.inet_pton(socket.AF_INET6, src))])
    still_serves()


@case
def fragment_flood():
    """H09: first and middle pieces that never become whole, of thousands of datagrams."""
    for n in range(5000):
        send([ip4(17, bytes(1000), frag=0x2000 | (n % 7) * 125)])
    still_serves()


@case
def arp_and_nd_flood():
    """H20: thousands of neighbours that do not exist; the real one stays reachable."""
    for n in range(4000):
        mac = bytes([2, 0, 0, 0, n >> 8, n & 255])
        src = socket.inet_aton(f"10.7.{n >> 8 & 255}.{n & 255}") if n % 256 > 2 else socket.inet_aton("10.7.200.9")
        frame = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + mac + src + bytes(6) + B4
        send([b"\xff" * 6 + mac + b"\x08\x06" + frame])
        src6 = socket.inet_pton(socket.AF_INET6, f"fd07::{n + 16:x}")
        ns = with_checksum(58, struct.pack("!BBHI", 135, 0, 0, 0) + B6 + b"\1\1" + mac, 2, v6=True, src=src6)
        send([eth(0x86dd, struct.pack("!IHBB", 6 << 28, len(ns), 58, 255) + src6 + B6 + ns)])
    still_serves()


@case
def syn_flood():
    """H15: random sources; connections that are there are served, new ones get through."""
    for n in range(20000):
        send([tcp(options=b"\2\4\5\264", src=bytes([10, 7, rng.randrange(1, 255), rng.randrange(4, 255)]))])
        if n % 4000 == 0:
            get(steady)
    still_serves()


@case
def memory_did_not_leak():
    with open(f"/proc/{server.process.pid}/status") as f:
        rss = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    print(f"# {rss} kB resident")
    check(rss < 2048 << 10, f"{rss} kB resident")
    check(server.stop() == 0, server.errors())


peer.run(90)
