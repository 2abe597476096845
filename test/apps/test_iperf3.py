#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""iperf3 from Debian's package, both ways, as server and as client: test_iperf3.py [kernel]."""
import json

import world
from world import LINUX4, LINUX6, ZS4, ZS6, App, Near, case, check, far, near, until

world.start("iperf3")
server = App("iperf3", "-s", "--forceflush", ready=r"Server listening")
linux = Near("iperf3", "-s", "--forceflush", "-p", "5301", "-B", LINUX4, ready=r"Server listening")
linux6 = Near("iperf3", "-s", "--forceflush", "-p", "5302", "-B", LINUX6, ready=r"Server listening")


def iperf3(run, at, *args):
    """One test, once the server is ready for it: it makes its listener anew for each."""
    def ready():
        check(at.alive(), at.errors())
        return at.output().count("Server listening") > at.output().count("Accepted connection")
    until("the server listens", ready)
    return run("iperf3", "-J", *args)


def result(text, bidir=False):
    r = json.loads(text)
    check("error" not in r, r.get("error"))
    end = r["end"]
    print(f"# {r['start']['connecting_to']['host']} {r['start']['test_start']['reverse']}: "
          f"{end['sum_received']['bits_per_second'] / 1e9:.2f} Gbit/s")
    for part in ("", "_bidir_reverse") if bidir else ("",):
        sent, received = end["sum_sent" + part]["bytes"], end["sum_received" + part]["bytes"]
        check(received > 100_000, f"{part}: {received} bytes")
        check(received <= sent, f"{part}: {received} received, {sent} sent")
    return end


WAYS = (("-t1",), ("-t1", "-R"), ("-t1", "--bidir"), ("-t1", "-P4"), ("-t1", "-P4", "-R"), ("-t1", "-Z"), ("-n", "20M"),
        ("-n", "20M", "-R"), ("-t1", "-l", "100"), ("-t1", "-w", "64K"), ("-t1", "-b", "100M"), ("-t1", "-N", "-M", "600"))


@case
def server_of_z_stack():
    for way in WAYS:
        result(iperf3(near, server, "-c", ZS4, *way), "--bidir" in way)
    result(iperf3(near, server, "-c", ZS6, "-t1"))


@case
def listener_is_taken():
    world.is_taken(5201)


@case
def client_of_z_stack():
    for way in WAYS:
        result(iperf3(far, linux, "-c", LINUX4, "-p", "5301", *way), "--bidir" in way)
    result(iperf3(far, linux6, "-c", LINUX6, "-p", "5302", "-t1"))


@case
def datagrams():
    for run, at, args in ((near, server, ("-c", ZS4)), (far, linux, ("-c", LINUX4, "-p", "5301"))):
        for way in ((), ("-R",)):
            end = json.loads(iperf3(run, at, *args, "-u", "-t1", "-b", "50M", "-l", "1400", *way))["end"]["sum"]
            check(end["packets"] > 3000, end)
            check(end["lost_percent"] < 20, end)


@case
def a_program_of_z_stack_and_another():
    result(iperf3(far, server, "-c", ZS4, "-t1"))
    result(iperf3(far, server, "-c", ZS4, "-t1", "--bidir"), True)


@case
def programs_end_in_order():
    for p in (server, linux, linux6):
        p.ok = (0, 1, -15)
        check(p.stop() == 0, p.errors())


world.finish(120)
