#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Records (SOCK_SEQPACKET) and datagrams between programs of one zstackd (docs/design/013): boundaries are kept, no
record is lost, and no datagram copied. Each end knows every one that it must get (message_app.c)."""
import errno
import os
import random
import re
import signal
import socket
import subprocess
import time

import linked
import peer
from linked import numbers, one_is_killed, programs, sockets
from peer import LINUX4, ZS4, Net, case, check
from service import OTHER, USER, Service, until, watched

peer.start()
linked.install("message_app")
net = Net("af_packet")
app, run, server = programs("message_app")


def refused(s, port, addr=ZS4, **how):
    """What connect() says to records, and to bytes."""
    out = run(s, "refused", addr, port, **how).split()
    return tuple(errno.errorcode.get(-int(x), 0) for x in (out[1], out[3]))


@case
def records_keep_their_boundaries():
    with watched(net) as (s, w):
        start = w.levels()
        with server(s, "records", 80) as e:
            n = numbers(run(s, "record", ZS4, 80, 6, 2000))
            check(n["links"] == 1 and n["bad"] == 0, n)
            check(n["commands"] < 200, f"the service was busy with it: {n}")
            until("the server has seen the end", lambda: "links" in e.output())
            # Small ones lie in their entries, and are copied from there.
            n = numbers(e.output())
            check(n["api_copied"] < n["rx"] / 50, n)
            check(run(s, "single", ZS4, 80) == "port ok type ok\nsent then -32\ngot 4 of four, 2, then the end 0\n",
                  "single")
            e.kill()
        w.await_levels(start)


@case
def none_is_lost_when_others_leave_the_link():
    with watched(net) as (s, w):
        start = w.levels()
        with server(s, "records", 80) as e:
            n = numbers(run(s, "forks", ZS4, 80, 3, 3000))
            check(n["bad"] == 0, n)
            e.kill()
        w.await_levels(start)


@case
def only_records_go_to_records_and_only_here():
    with watched(net, "--allow", "root", "--allow", str(USER), "--allow", str(OTHER)) as (s, w):
        start = w.levels()
        with server(s, "records", 8080, user=USER) as e:
            check(refused(s, 8080, user=USER) == (0, "ECONNREFUSED"), "of records")
            check(refused(s, 8081, user=USER) == ("EPROTOTYPE", 0), "of bytes")
            check(refused(s, 8082, user=USER) == ("ECONNREFUSED", "ECONNREFUSED"), "of nobody")
            check(refused(s, 8080, user=OTHER)[0] == "EACCES", "another user")
            check(refused(s, 8080, addr=LINUX4, user=USER)[0] == "EHOSTUNREACH", "another host")
            try:
                socket.create_connection((ZS4, 8080), 10).close()
                check(False, "the wire may connect")
            except ConnectionRefusedError:
                pass
            rec = [o for o in sockets(s) if o.get("records")]
            check(len(rec) == 1 and rec[0]["listens"], rec)
            e.kill()
        w.await_levels(start)


@case
def there_are_none_where_links_are_switched_off():
    with watched(net, "--same-node=no") as (s, w):
        check(run(s, "none") == f"socket {-errno.ESOCKTNOSUPPORT}\n", "none")


@case
def killed_at_any_moment():
    rnd = random.Random(7)
    with watched(net) as (s, w):
        start = w.levels()
        for i in range(15):
            with server(s, "records", 80) as e:
                c = [app(s, rnd.choice(("record", "forks")), ZS4, 80, rnd.randrange(1, 5), 1 << 40) for _ in range(2)]
                time.sleep(rnd.random() * 0.4)
                one_is_killed(rnd, e, c)
        w.await_levels(start, 30)
        check(s.alive(), s.errors())


@case
def the_end_of_the_service_is_a_reset():
    s = Service(net)
    with server(s, "records", 80) as e:
        c = app(s, "record", ZS4, 80, 2, 1 << 40)
        until("it runs", lambda: any(o.get("link") for o in sockets(s)))
        s.process.send_signal(signal.SIGKILL)
        s.process.wait()
        check(c.wait(20) == 1 and "reset" in c.output(), c.output() + c.errors())
        e.kill()
    if os.path.exists(s.path):
        os.unlink(s.path)


@case
def datagrams_are_not_copied_by_the_service():
    with watched(net) as (s, w):
        start = w.levels()
        with server(s, "dgrams", 53) as e:
            c = app(s, "dgram", ZS4, 53, 500, ready="copied", stdin=subprocess.PIPE)
            check(re.search(r"copied 0 lent [1-9]", c.output()), c.output())
            e.kill()
            until("its socket is gone", lambda: not any(o.get("local_port") == 53 for o in sockets(s)))
            c.process.stdin.write(b"\n")
            c.process.stdin.flush()
            check(c.wait(10) == 0 and f"then {-errno.ECONNREFUSED}\n" in c.output(), c.output())
        w.await_levels(start)


@case
def datagrams_are_copied_where_that_is_switched_off():
    with watched(net) as (s, w), server(s, "dgrams", 53) as e:
        out = run(s, "dgram", ZS4, 53, 100, "off", stdin=subprocess.DEVNULL)
        check(re.search(r"copied [1-9][0-9]* lent 0", out), out)
        e.kill()
    with watched(net, "--same-node=no") as (s, w), server(s, "dgrams", 53) as e:
        out = run(s, "dgram", ZS4, 53, 100, "off", stdin=subprocess.DEVNULL)
        check(re.search(r"copied [1-9][0-9]* lent 0", out), out)
        e.kill()


@case
def who_keeps_datagrams_holds_up_nobody():
    """H34. One holds what it gets and reads no more: its senders go on, and so do others."""
    with watched(net) as (s, w):
        start = w.levels()
        with server(s, "hoard", 54, stdin=subprocess.PIPE) as h, server(s, "dgrams", 53) as e:
            run(s, "dgram", ZS4, 53, 10, stdin=subprocess.DEVNULL)
            for size in (8, 1000, 60000):
                out = run(s, "flood", ZS4, 54, 5000, size)
                check(int(out.split()[1]) > 0, out)
            # Of senders that are gone, too, it still has some.
            out = run(s, "dgram", ZS4, 53, 100, stdin=subprocess.DEVNULL)
            check(re.search(r"copied 0 lent [1-9]", out), out)
            h.process.stdin.close()
            check(h.wait(10) == 0 and "hoarded 0" not in h.output(), h.output() + h.errors())
            e.kill()
        w.await_levels(start, 30)


@case
def senders_of_datagrams_are_killed_at_any_moment():
    rnd = random.Random(9)
    with watched(net) as (s, w):
        start = w.levels()
        with server(s, "dgrams", 53) as e:
            for i in range(15):
                c = [app(s, "dgram", ZS4, 53, 1 << 40, stdin=subprocess.DEVNULL) for _ in range(2)]
                time.sleep(rnd.random() * 0.3)
                for p in c:
                    p.kill()
            out = run(s, "dgram", ZS4, 53, 100, stdin=subprocess.DEVNULL)
            check(re.search(r"copied 0 lent [1-9]", out), out)
            e.kill()
        w.await_levels(start, 30)


peer.run(200)
