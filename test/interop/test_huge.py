#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""zstackd with huge pages: what lies in them, what happens when there are too few, that a program's memory goes from
service to service, and that nobody can take pages away under the service (H35). The pages are the machine's: they
are reserved here and given back."""
import contextlib
import os
import re
import shutil
import signal
import time

import peer
import service
from peer import ZS4, Failed, Net, Skip, case, check, check_echo, connect, pattern
from service import App, Service, app, until, watched

peer.start()
service.install()
net = Net("af_packet")
POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/"
ENOUGH = 400  # for DPDK, packets, the watcher and a program


def pages(what="nr_hugepages"):
    with open(POOL + what) as f:
        return int(f.read())


def reserve(n):
    with open(POOL + "nr_hugepages", "w") as f:
        f.write(str(n))


@contextlib.contextmanager
def free_pages(n):
    """n pages more than there are."""
    before, limit = pages(), pages("nr_overcommit_hugepages")
    try:
        reserve(before + n)
        if pages() < before + n:
            raise Skip("the machine has no memory for huge pages")
        yield
    finally:
        reserve(before)
    until("all pages come back", lambda: pages() == before and pages("nr_overcommit_hugepages") == limit)


def kinds(pid):
    """The page sizes, in KB, of the memory that is shared with a process, by name."""
    with open(f"/proc/{pid}/smaps") as f:
        text = f.read()
    return {m[1]: int(m[2]) for m in re.finditer(r"memfd:zstack-(\w+).*?KernelPageSize: +([0-9]+) kB", text, re.S)}


def huge(net, *args, **how):
    return watched(net, "--no-huge=no", *args, **how)


@case
def packets_rings_and_arena_are_in_huge_pages():
    with free_pages(ENOUGH):
        with huge(net) as (s, w), App(s, "proxy", 81, ZS4, 8888) as p:
            for pid in (s.process.pid, p.process.pid):
                check(kinds(pid) == {"packets": 2048, "rings": 2048, "arena": 2048}, f"{kinds(pid)}")
            with App(s, "echo", 7):
                check_echo(connect(ZS4, 7), pattern(8 << 20))
        with huge(net, "--allow", "0", "--allow", "1") as (s, w), App(s, "echo", 7) as p:
            check(kinds(p.process.pid) == {"domain": 2048, "rings": 2048, "arena": 2048}, f"{kinds(p.process.pid)}")
            check_echo(connect(ZS4, 7), pattern(8 << 20))
        check(pages("free_hugepages") == pages(), "not all came back")


@case
def the_limit_of_surplus_pages_is_as_before():
    """Who runs on pages that were not reserved leaves the machine's setting alone, also when it is killed."""
    limit, surplus = pages("nr_overcommit_hugepages"), pages("surplus_hugepages")
    for how in (signal.SIGKILL, signal.SIGTERM):
        s = Service(net, "--no-huge=no")
        if pages("surplus_hugepages") == surplus:
            check(s.stop() == 0, s.errors())
            raise Skip("no huge pages can be had")
        check(pages("nr_overcommit_hugepages") == limit, f"it runs, and the limit is {pages('nr_overcommit_hugepages')}")
        with Service(net, "--no-huge=no", vdev="net_null9", addrs=("10.9.9.9/24",), path=s.path + "2"):
            check(pages("nr_overcommit_hugepages") == limit, "a second one changed it")
        with App(s, "echo", 7):
            check_echo(connect(ZS4, 7), pattern(1 << 20))
        s.process.send_signal(how)
        s.process.wait()
        check(pages("nr_overcommit_hugepages") == limit, f"the limit is left at {pages('nr_overcommit_hugepages')}")
        until("its pages are back", lambda: pages("surplus_hugepages") == surplus)


@case
def too_few_are_no_obstacle():
    """The service's next start finds as many as it has now."""
    with free_pages(150), huge(net) as (s, w):
        with contextlib.ExitStack() as programs:
            got = []
            for port in range(7, 12):
                p = programs.enter_context(App(s, "echo", port))
                got.append(kinds(p.process.pid)["arena"])
                check_echo(connect(ZS4, port), pattern(1 << 20))
            check(4 in got, f"five programs of 64 MB have {got}")
            check(pages("free_hugepages") * 2 << 20 >= 20 << 20, f"{pages('free_hugepages')} are left")


@case
def a_few_that_are_reserved_are_no_obstacle():
    """Less than DPDK wants: it has ordinary pages then."""
    with free_pages(20), huge(net) as (s, w), App(s, "echo", 7):
        check_echo(connect(ZS4, 7), pattern(1 << 20))


@case
def none_are_used_when_none_shall_be():
    with free_pages(ENOUGH), watched(net) as (s, w), App(s, "echo", 7) as p:
        check(set(kinds(p.process.pid).values()) == {4}, f"{kinds(p.process.pid)}")
        check(app(s, "holes", 1)[-1] == "holes 0", "ordinary pages can be had again")


@case
def arena_goes_to_the_next_service():
    with free_pages(ENOUGH):
        s = Service(net, "--no-huge=no")
        with App(s, "echo", 7) as e:
            check(kinds(e.process.pid)["arena"] == 2048, f"{kinds(e.process.pid)}")
            for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
                check_echo(connect(ZS4, 7), pattern(4 << 20))
                s.process.send_signal(how)
                s.process.wait()
                s = Service(net, "--no-huge=no")
                again(lambda: check_echo(connect(ZS4, 7), pattern(4 << 20)))
                check(kinds(s.process.pid)["arena"] == 2048, f"{kinds(s.process.pid)}")
                check("refused" not in s.errors(), s.errors())
        check(s.stop() == 0, s.errors())


def again(f, seconds=10):
    end = time.monotonic() + seconds
    while True:
        try:
            return f()
        except (OSError, Failed):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@case
def h35_pages_taken_away_before_sealing_end_the_program_only():
    with free_pages(ENOUGH), huge(net) as (s, w):
        start = w.levels()
        with App(s, "echo", 7):
            got = app(s, "holes", 64)
            check(re.match(r"holes -\d+", got[-1]), f"{got}")
            check("not attached" in s.errors(), s.errors())
            check_echo(connect(ZS4, 7), pattern(4 << 20))
        w.await_levels(start)


@case
def children_of_a_program_work():
    """What a child gets is used before it is sealed, so it has ordinary pages."""
    with free_pages(ENOUGH), huge(net) as (s, w):
        shutil.copy(os.path.join(peer.build, "test/interop/fork_server"), service.folder)
        f = App(s, "fork_server", "workers", ready="ready", start_new_session=True)
        try:
            for _ in range(4):
                check_echo(connect(ZS4, 7), pattern(1 << 20))
        finally:
            os.killpg(f.process.pid, signal.SIGKILL)
            f.process.wait()


peer.run(120)
