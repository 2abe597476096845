#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""redis from Debian's package: test_redis.py [kernel]."""
import os
import re
import threading

import world
from resp import Redis
from world import LINUX4, ZS4, ZS6, App, Near, case, check, digest, far, near, path, pattern, together, until

world.start("redis-server", "redis-benchmark")


def server(how, name, addr, port, *args):
    os.makedirs(path(name), exist_ok=True)
    return how("redis-server", "--port", port, "--bind", *addr.split(), "--dir", path(name), "--save", "",
               "--protected-mode", "no", "--repl-diskless-sync-delay", "0", *args, ready="Ready to accept")


first = server(App, "first", f"{ZS4} {ZS6}", 6379)
second = server(App, "second", ZS4, 6380)
threaded = server(App, "threaded", ZS4, 6381, "--io-threads", "2", "--io-threads-do-reads", "yes")
linux = server(Near, "linux", LINUX4, 6382)


def fill(r, n=2000, size=4096):
    """n values that can be told apart."""
    for at in range(0, n, 500):
        r.s.sendall(b"".join(r.request("SET", f"k{i}", pattern(size, seed=i)) for i in range(at, min(n, at + 500))))
        for _ in range(at, min(n, at + 500)):
            check(r.answer() == "OK", "SET")


def same_as(r, n=2000, size=4096):
    check(r("DBSIZE") >= n, f"{r('DBSIZE')} keys")
    for i in range(0, n, 97):
        check(r("GET", f"k{i}") == pattern(size, seed=i), f"k{i}")


@case
def listeners_are_taken():
    for port in (6379, 6380, 6381):
        world.is_taken(port)


@case
def values_of_all_sizes():
    for addr in (ZS4, ZS6):
        r = Redis(addr, 6379)
        for size in (0, 1, 100, 16384, 70_001, 1 << 20, 20 << 20):
            v = pattern(size, seed=size)
            check(r("SET", "v", v) == "OK", size)
            check(digest(r("GET", "v")) == digest(v), f"{size} bytes")
        r("DEL", "v")
        r.close()


@case
def a_long_pipeline_is_answered_in_order():
    for port in (6379, 6381):
        r = Redis(ZS4, port)
        out = b"".join(r.request("ECHO", f"{i}:" + "x" * (i % 700)) for i in range(20_000))
        t = threading.Thread(target=r.s.sendall, args=(out,), daemon=True)
        t.start()
        for i in range(20_000):
            check(r.answer().startswith(b"%d:" % i), f"answer {i}")
        t.join(10)
        r.close()


@case
def published_messages_reach_all_subscribers():
    subs = [Redis(ZS4, 6379) for _ in range(40)]
    for s in subs:
        s("SUBSCRIBE", "news")
    r = Redis(ZS4, 6379)
    for i in range(100):
        check(r("PUBLISH", "news", f"{i}") == 40, "subscribers")
    for s in subs:
        for i in range(100):
            check(s.answer() == [b"message", b"news", b"%d" % i], f"message {i}")
        s.close()
    r.close()


@case
def blocked_clients_are_woken():
    def one(n):
        r = Redis(ZS4, 6379)
        got = r("BLPOP", "jobs", 10)
        r.close()
        return got[1]
    r = Redis(ZS4, 6379)
    t = threading.Thread(target=lambda: [until("they block", lambda: int(r.info("clients")["blocked_clients"]) == 20),
                                         r("RPUSH", "jobs", *range(20))])
    t.start()
    got = together(20, one)
    t.join()
    check(sorted(map(int, got)) == list(range(20)), got)
    r.close()


@case
def many_clients_at_a_time():
    def one(n):
        r = Redis(ZS4, 6379)
        for i in range(100):
            v = pattern(n * 31 + i, seed=n)
            r("SET", f"c{n}", v)
            check(r("GET", f"c{n}") == v, f"client {n}")
        r.close()
    together(64, one)


@case
def redis_benchmark():
    for port, args in ((6379, ("-t", "set,get,lpush,lrange_100", "-n", "20000", "-c", "50")),
                       (6379, ("-t", "set,get", "-n", "100000", "-c", "50", "-P", "16", "-d", "1000")),
                       (6381, ("-t", "set,get", "-n", "1000", "-c", "4", "-P", "16", "-d", "1000"))):
        out = near("redis-benchmark", "-h", ZS4, "-p", port, "-q", *args)
        check(out.count("requests per second") >= 2 and "rror" not in out, out)


@case
def redis_cli_here_and_there():
    check(near("redis-cli", "-h", ZS4, "ping").strip() == "PONG", "near")
    check(far("redis-cli", "-h", ZS4, "ping").strip() == "PONG", "far, to a program of Z-Stack")
    check(far("redis-cli", "-h", LINUX4, "-p", "6382", "ping").strip() == "PONG", "far, to Linux")


def replicates(leader, addr, port, follower):
    """The follower gets all, then what is new, and again after the connection broke."""
    r, f = Redis(addr, port), follower
    fill(r)
    f("REPLICAOF", addr, port)
    until("it follows", lambda: f.info("replication").get("master_link_status") == "up", 20)
    same_as(f)
    r("SET", "later", "1")
    until("a change arrives", lambda: f("GET", "later") == b"1")
    r("CLIENT", "KILL", "TYPE", "replica")
    r("SET", "later", "2")
    until("a change arrives after a break", lambda: f("GET", "later") == b"2")
    same_as(f)
    f("REPLICAOF", "NO", "ONE")
    for x in (r, f):
        x("FLUSHALL")
    r.close()


@case
def one_replicates_another_of_z_stack():
    replicates(first, ZS4, 6379, Redis(ZS4, 6380))


@case
def one_replicates_linux_and_linux_one():
    replicates(linux, LINUX4, 6382, Redis(ZS4, 6380))
    replicates(first, ZS4, 6379, Redis(LINUX4, 6382))


class Busy:
    """A client that works all the time and finds all that it wrote."""

    def __init__(self, port):
        self.end, self.wrong, self.n, self.port = False, [], 0, port
        self.t = threading.Thread(target=self.work, daemon=True)
        self.t.start()

    def work(self):
        try:
            r = Redis(ZS4, self.port)
            while not self.end:
                v = pattern(self.n % 5000, seed=self.n)
                r("SET", "busy", v)
                if r("GET", "busy") != v:
                    self.wrong.append(self.n)
                self.n += 1
            r.close()
        except Exception as e:
            self.wrong.append(repr(e))

    def stop(self):
        self.end = True
        self.t.join(20)
        check(not self.wrong and self.n > 10, f"after {self.n}: {self.wrong[:3]}")


@case
def saved_by_a_child_while_it_serves():
    r, busy = Redis(ZS4, 6379), Busy(6379)
    fill(r, 10_000)
    for _ in range(3):
        until("no child works", lambda: r.info("persistence")["rdb_bgsave_in_progress"] == "0")
        before = r.info("persistence")["rdb_saves"]
        check("started" in r("BGSAVE"), "BGSAVE")
        until("saved", lambda: r.info("persistence")["rdb_saves"] != before)
        check(r.info("persistence")["rdb_last_bgsave_status"] == "ok", "status")
    busy.stop()
    r.close()
    os.makedirs(path("copy"))
    os.link(path("first", "dump.rdb"), path("copy", "dump.rdb"))
    with server(Near, "copy", LINUX4, 6390, "--dbfilename", "dump.rdb"):
        c = Redis(LINUX4, 6390)
        same_as(c, 10_000)
        c.close()


@case
def log_is_rewritten_by_a_child():
    r, busy = Redis(ZS4, 6380), Busy(6380)
    r("CONFIG", "SET", "appendonly", "yes")
    until("the log is there", lambda: r.info("persistence")["aof_rewrite_in_progress"] == "0"
          and r.info("persistence")["aof_enabled"] == "1")
    fill(r)
    r("BGREWRITEAOF")
    until("rewritten", lambda: r.info("persistence")["aof_rewrite_in_progress"] == "0"
          and r.info("persistence")["aof_rewrite_scheduled"] == "0")
    check(r.info("persistence")["aof_last_bgrewrite_status"] == "ok", "status")
    busy.stop()
    r("CONFIG", "SET", "appendonly", "no")
    r.close()


@case
def too_slow_readers_are_dropped_alone():
    r = Redis(ZS4, 6379)
    r("CONFIG", "SET", "client-output-buffer-limit", "normal 8mb 4mb 1")
    r("SET", "long", pattern(1 << 20))
    slow = Redis(ZS4, 6379)
    slow.s.sendall(slow.request("GET", "long") * 64)
    until("it is dropped", lambda: not re.search(r"cmd=get\b", r("CLIENT", "LIST").decode()))
    check(digest(r("GET", "long")) == digest(pattern(1 << 20)), "others are served")
    slow.close()
    r.close()


@case
def maxclients_refuses_politely():
    r = Redis(ZS4, 6380)
    r("CONFIG", "SET", "maxclients", "50")
    more = []
    refused = 0
    for _ in range(60):
        c = Redis(ZS4, 6380)
        try:
            c("PING")
        except (RuntimeError, OSError):
            refused += 1
        more.append(c)
    check(refused >= 10, f"{refused} refused")
    for c in more:
        c.close()
    until("all have left", lambda: int(r.info("clients")["connected_clients"]) == 1)
    r.close()


@case
def programs_end_in_order():
    for p in (first, second, threaded, linux):
        check(p.stop() == 0, p.output()[-1000:] + p.errors())


world.finish()
