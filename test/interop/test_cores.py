#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""One program on two stacks, each with a core and a queue of its own: what its descriptors stand for on
both must look like one (src/client/group.c)."""
import os
import socket
import threading

import peer
from peer import LINUX4, ZS4, Net, Program, case, check, check_echo, connect, echo, pattern

peer.start()
if len(os.sched_getaffinity(0)) < 2:
    print("1..0 # SKIP one CPU")
    raise SystemExit(0)
net = Net()
CPUS = ",".join(str(c) for c in sorted(os.sched_getaffinity(0))[:2])
LINK = net.vdev() + ",qpairs=2"
server = Program(net, "echo", "7", "--cores", CPUS, vdev=LINK)


@case
def connections_land_on_both_cores_and_all_are_served():
    wrong = []

    def one(i):
        data = pattern(30000, i)
        if echo(connect(ZS4), data) != data:
            wrong.append(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(64)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not wrong, f"of 64 connections these differ or broke: {wrong}")


@case
def bulk_on_one_connection():
    check_echo(connect(ZS4), pattern(4 << 20))


@case
def datagrams_from_many_ports_come_back():
    server.stop()
    with Program(net, "udp_echo", "7", "--cores", CPUS, vdev=LINK):
        for i in range(64):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(5)
                s.bind((LINUX4, 0))
                s.sendto(b"datagram %d" % i, (ZS4, 7))
                back, who = s.recvfrom(100)
                check(back == b"datagram %d" % i and who == (ZS4, 7), f"{i}: {back} from {who}")


peer.run(90)
