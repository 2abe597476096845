#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Same-node streams (docs/design/013): programs of one zstackd connect to one another, and their bytes go by shared
memory. Each end knows every byte it must get (link_app.c)."""
import os
import random
import re
import signal
import subprocess
import time

import linked
import peer
import service
from linked import numbers, one_is_killed, programs, sockets
from peer import ZS4, Net, build, case, check
from service import OTHER, USER, Service, until, watched

peer.start()
linked.install("link_app")
net = Net("af_packet")
MANY = 10000
link_app, run, server = programs("link_app")


@case
def bytes_go_by_the_link_and_arrive():
    with watched(net) as (s, w):
        start = w.levels()
        with server(s, "echo", 80) as e:
            n = numbers(run(s, "talk", ZS4, 80, 8, 3000000))
            check(n["links"] == 1 and n["bad"] == 0, n)
            # By way of the service each block is a command.
            check(n["commands"] < 1000, f"the service was busy with it: {n}")
            check("connect -111" in run(s, "refused", ZS4, 81), "not refused")
            e.kill()
        w.await_levels(start)


@case
def a_program_talks_to_itself():
    with watched(net) as (s, w):
        start = w.levels()
        out = run(s, "self", ZS4, 80, 8, 3000000)
        for line in re.findall("links .*", out):
            check(" bad 0 " in line and line.startswith("links 2 "), line)
        n = numbers(out)
        check(n["commands"] < 2000 + 4 * 18, f"the service was busy with it: {n}")
        w.await_levels(start)


def links_shown(s):
    out = subprocess.run([os.path.join(build, "tools/zstack"), "--socket", s.path, "ss"], stdout=subprocess.PIPE,
                         text=True, check=True).stdout
    return [x for x in out.split("\n") if x.startswith("link ")]


def links_used(s):
    return [x for x in links_shown(s) if re.search(r"link:\d+ out:\d\d+ in:\d\d+", x)]


@case
def a_stream_is_shown_as_what_it_is():
    with watched(net) as (s, w), server(s, "echo", 80) as e:
        h = link_app(s, "hold", ZS4, 80, 2, ready="holding", stdin=subprocess.PIPE)
        until("two streams are links, both ways, at both ends", lambda: len(links_used(s)) == 4 or round_goes(h), 60)
        check(len(links_shown(s)) == 4, links_shown(s))
        h.process.stdin.close()
        check(h.wait(10) == 0, h.output())
        e.kill()


@case
def ten_thousand_at_once():
    with watched(net) as (s, w):
        start = w.levels()
        with server(s, "echo", 80) as e:
            out = run(s, "hold", ZS4, 80, MANY, seconds=200, stdin=subprocess.DEVNULL)
            check(out.endswith("ok\n") and numbers(out)["links"] == 1, out)
            check(numbers(out)["commands"] < 8 * MANY, out)
            e.kill()
        w.await_levels(start, 60)


@case
def a_chain_copies_nothing():
    with watched(net) as (s, w), server(s, "sink", 85) as sink, server(s, "relay", 84, ZS4, 85) as b, \
            server(s, "relay", 83, ZS4, 84) as a:
        c = link_app(s, "source", ZS4, 83, 30000000, ready="connected", stdin=subprocess.PIPE)
        until("all three go over links", lambda: sum("link" in o for o in sockets(s)) == 6)
        c.process.stdin.write(b"go\n")
        c.process.stdin.flush()
        for p in (c, a, b, sink):
            check(p.wait(30) == 0, p.output() + p.errors())
            n = numbers(p.output())
            check(n["api_copied"] == 0 and n["rx"] + n["tx"] >= 30000000 and n["bad"] == 0, n)


@case
def a_child_for_each_connection():
    with watched(net) as (s, w):
        start = w.levels()
        with server(s, "fork", 80) as e:
            run(s, "talk", ZS4, 80, 8, 2000000)
            check(numbers(e.output())["bad"] == 0, e.output())
            e.kill()
        w.await_levels(start)


@case
def a_child_goes_on_with_a_stream():
    """Whose sender looks at its sockets when it likes, and whose parent doesn't any more."""
    with watched(net) as (s, w):
        start = w.levels()
        for first in (0, 1, 50, 20_000, 300_000, 1_000_000, 2_999_999):
            with server(s, "pour", 80, 3_000_000) as p:
                run(s, "heir", ZS4, 80, 3_000_000, first)
                check(p.wait(30) == 0 and numbers(p.output())["bad"] == 0, p.output())
        w.await_levels(start, 60)


@case
def killed_at_any_moment():
    rnd = random.Random(5)
    with watched(net) as (s, w):
        start = w.levels()
        for i in range(30):
            with server(s, "echo", 80) as e:
                c = [link_app(s, "talk", ZS4, 80, rnd.randrange(1, 5), 1 << 40, i) for _ in range(2)]
                time.sleep(rnd.random() * 0.4)
                one_is_killed(rnd, e, c)
        w.await_levels(start, 30)
        check(s.alive(), s.errors())


@case
def no_links_when_switched_off_or_between_users():
    with watched(net, "--same-node=no") as (s, w), server(s, "echo", 80) as e:
        check(numbers(run(s, "talk", ZS4, 80, 4, 1000000))["links"] == 0, "a link")
        e.kill()
    with watched(net, "--allow", "root", "--allow", str(USER), "--allow", str(OTHER)) as (s, w):
        with server(s, "echo", 8080, user=USER) as e:
            check(numbers(run(s, "talk", ZS4, 8080, 4, 1000000, user=OTHER))["links"] == 0, "a link")
            check(numbers(run(s, "talk", ZS4, 8080, 4, 1000000, user=USER))["links"] == 1, "no link")
            e.kill()


@case
def a_socket_is_switched_off():
    with watched(net) as (s, w):
        start = w.levels()
        with server(s, "echo", 80) as e:
            check(run(s, "switch", ZS4, 80) == "ok\n", "switch")
            check(run(s, "plain", ZS4, 80) == "by TCP\n", "plain")
            e.kill()
        w.await_levels(start)


class Node:
    """A service that ends and comes back, an echo server at port 80, and who talks to it."""

    def __init__(self, *args):
        self.args, self.s, self.programs = args, Service(net, *args), []
        self.echo = self.start("echo", 80, ready="listening")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for p in self.programs:
            p.kill()
        self.ends()

    def start(self, *args, ready=None, **how):
        self.programs.append(link_app(self.s, *args, ready=ready, **how))
        return self.programs[-1]

    def hold(self, n=4):
        return self.start("hold", ZS4, 80, n, ready="holding", stdin=subprocess.PIPE)

    def are_linked(self, n):
        return sum(o.get("link_both_ways", False) for o in sockets(self.s)) == 2 * n

    def linked(self, n, *held):
        """All of n streams, both ways. One goes over when it is used: so those that are held are, until then."""
        until("all goes over links", lambda: self.are_linked(n) or [round_goes(h) for h in held] and False, 60)

    def linked_again(self, n, h):
        """As soon as their program uses them."""
        until("all goes over links again", lambda: round_goes(h) or self.are_linked(n), 100)

    def ends(self, how=signal.SIGKILL):
        if self.s.alive():
            self.s.process.send_signal(how)
            self.s.process.wait()
        if os.path.exists(self.s.path):
            os.unlink(self.s.path)

    def comes(self, **how):
        self.s = Service(net, *self.args, **how)

    def echo_is_there(self):
        until("the server listens again",
              lambda: any(o["state"] == "LISTEN" and o["local_port"] == 80 for o in sockets(self.s)), 20)

    def nothing_is_left(self):
        until("nothing is left", lambda: all(o["listens"] or o["state"] == "TIME-WAIT" for o in sockets(self.s)))

    def talks(self):
        n = numbers(run(self.s, "talk", ZS4, 80, 4, 1000000))
        check(n["links"] == 1 and n["bad"] == 0, n)


def say(h, line):
    h.process.stdin.write(line)
    h.process.stdin.flush()


def round_goes(h, line=b"r\n"):
    """A round on each of its streams."""
    n = h.output().count("round\n")
    say(h, line)
    until("a round on each stream", lambda: h.output().count("round\n") > n or not h.alive(), 60)
    check(h.alive(), h.output() + h.errors())


def is_done(h):
    h.process.stdin.close()
    check(h.wait(60) == 0, h.output() + h.errors())


def is_reset(h):
    say(h, b"r\n")
    check(h.wait(20) == 1 and "reset" in h.output(), h.output() + h.errors())


@case
def streams_go_on_while_there_is_no_service():
    for how in (signal.SIGKILL, signal.SIGTERM):
        with Node() as n:
            h = n.hold()
            n.linked(4, h)
            n.ends(how)
            for _ in range(3):
                round_goes(h)
            n.comes()
            n.echo_is_there()
            round_goes(h)
            n.talks()
            round_goes(h)
            is_done(h)


@case
def the_next_service_knows_them_again():
    with Node() as n:
        h = n.hold()
        n.linked(4, h)
        before = {(o["local_port"], o["peer_port"]) for o in sockets(n.s) if "link" in o}
        for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            n.ends(how)
            round_goes(h)
            n.comes()
            n.linked_again(4, h)
            now = {(o["local_port"], o["peer_port"]) for o in sockets(n.s) if "link" in o}
            check(now == before, f"{now} were {before}")
            check(all(o["state"] == "ESTABLISHED" for o in sockets(n.s) if "link" in o), sockets(n.s))
            round_goes(h)
        # They are as any others.
        round_goes(h, b"f\n")
        n.linked_again(4, h)
        check(numbers(h.output())["links"] == 1, h.output())
        is_done(h)
        n.talks()
        n.nothing_is_left()


@case
def those_that_end_meanwhile_leave_nothing():
    with Node() as n:
        t = n.start("talk", ZS4, 80, 4, 30_000_000)
        n.linked(4)
        n.ends()
        n.comes()
        check(t.wait(100) == 0, t.output() + t.errors())
        n.echo_is_there()
        n.nothing_is_left()


@case
def a_service_with_other_addresses_does_not_know_them():
    with Node() as n:
        h = n.hold()
        n.linked(4, h)
        n.ends()
        n.comes(addrs=["10.7.0.3/24"])
        n.echo_is_there()
        for _ in range(3):
            round_goes(h)
        check(not [o for o in sockets(n.s) if o["state"] == "ESTABLISHED"], sockets(n.s))
        n.ends()
        round_goes(h)
        n.comes()
        n.linked_again(4, h)
        round_goes(h)
        is_done(h)


@case
def under_load_no_byte_is_lost_or_changed():
    rnd = random.Random(8)
    with Node() as n:
        for i in range(6):
            talks = [n.start("talk", ZS4, 80, 4, 60_000_000, k) for k in range(2)]
            n.linked(8)
            n.ends(signal.SIGTERM if i % 2 else signal.SIGKILL)
            # At any time before they are through, or after.
            time.sleep(rnd.random())
            n.comes()
            for t in talks:
                check(t.wait(100) == 0 and numbers(t.output())["bad"] == 0, t.output() + t.errors())
            n.echo_is_there()
        n.talks()


@case
def they_end_without_a_service_as_with_one():
    """Each way ends by itself; nobody comes back before all is done."""
    with Node() as n:
        t = n.start("talk", ZS4, 80, 8, 30_000_000)
        n.linked(8)
        n.ends()
        check(t.wait(100) == 0, t.output() + t.errors())
        n.comes()
        n.echo_is_there()
        n.talks()


@case
def who_is_killed_meanwhile_is_missed():
    with Node() as n:
        h = n.hold()
        n.linked(4, h)
        n.ends()
        round_goes(h)
        n.echo.kill()
        is_reset(h)
    with Node() as n:
        h, other = n.hold(), n.hold()
        n.linked(8, h, other)
        n.ends()
        round_goes(h)
        h.kill()
        round_goes(other)
        n.comes()
        n.echo_is_there()
        round_goes(other)
        is_done(other)
        w = service.Watcher(n.s)
        n.talks()
        start = w.levels()
        n.talks()
        w.await_levels(start)
        w.close()


@case
def one_finds_out_long_before_the_other():
    """It is stopped, meanwhile; either of the two."""
    for late in ("server", "client"):
        with Node() as n:
            h = n.hold()
            n.linked(4, h)
            stopped = n.echo if late == "server" else h
            stopped.process.send_signal(signal.SIGSTOP)
            n.ends()
            n.comes()
            time.sleep(0.5)
            stopped.process.send_signal(signal.SIGCONT)
            round_goes(h)
            n.echo_is_there()
            round_goes(h)
            is_done(h)


peer.run(400)
