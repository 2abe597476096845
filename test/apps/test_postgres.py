#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""PostgreSQL from Debian's package, a process for each connection: test_postgres.py [kernel]."""
import glob
import os
import pwd
import random
import re
import signal

import world
from world import LINUX4, ZS4, ZS6, App, Near, Skip, case, check, digest, far, near, path, put, sh, together, until

world.start("psql")
BIN = (sorted(glob.glob("/usr/lib/postgresql/*/bin")) or ["/usr/lib/postgresql"])[-1]
if not os.path.exists(f"{BIN}/postgres"):
    print("1..0 # SKIP postgresql is not installed (devtools/packages.txt)")
    raise SystemExit
USER = "postgres"
pw = pwd.getpwnam(USER)


def server(how, name, addrs, port=5432, **more):
    data = path(name)
    os.makedirs(data)
    os.chown(data, pw.pw_uid, pw.pw_gid)
    sh(f"setpriv --reuid={USER} --regid={USER} --clear-groups {BIN}/initdb -D {data} -A trust -E UTF8 --locale=C -N")
    with open(f"{data}/pg_hba.conf", "a") as f:
        f.write("host all all 10.7.0.0/24 trust\nhost all all fd07::/64 trust\nhost replication all 10.7.0.0/24 trust\n")
    return start(how, name, addrs, port, **more)


def start(how, name, addrs, port=5432):
    return how(f"{BIN}/postgres", "-D", path(name), "-c", f"listen_addresses={addrs}", "-p", port, "-k", path(name),
               "-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "wal_level=replica", "-c", "max_connections=100",
               ready="ready to accept", **({"user": USER} if how is App else {}))


class NearUser(Near):
    """On Linux's side as that user."""

    def __init__(self, *argv, **how):
        super().__init__("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *argv, **how)


main = server(App, "main", f"{ZS4},{ZS6}")


def psql(sql, run=near, host=ZS4, port=5432, **how):
    return run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", host, "-p", port, "-U", USER, "-c", sql,
               "postgres", **how)


@case
def listener_is_taken():
    world.is_taken(5432)


@case
def questions_are_answered():
    for host in (ZS4, ZS6):
        check(psql("select 6*7", host=host) == "42\n", host)
        check(psql("select inet_server_addr(), inet_client_addr()", host=host).count("|") == 1, "addresses")
    check(psql("select host(inet_client_addr())") == f"{LINUX4}\n", "the client's address")


@case
def tables_are_filled_and_read():
    psql("create table t as select i, md5(i::text) h, repeat('x', i % 1000) x from generate_series(1, 50000) i")
    out = psql("select i, h, x from t order by i")
    lines = out.splitlines()
    check(len(lines) == 50_000 and all(l.split("|")[2] == "x" * (n % 1000) for n, l in enumerate(lines, 1)), len(lines))


@case
def tables_are_copied_in_and_out():
    rnd = random.Random(5)
    rows = "".join(f"{i}\t{rnd.randbytes(200).hex()}\n" for i in range(20_000))
    put("rows", rows)
    psql("create table c (i int, t text)")
    near("psql", "-X", "-q", "-h", ZS4, "-U", USER, "-c", f"\\copy c from '{path('rows')}'", "postgres")
    near("psql", "-X", "-q", "-h", ZS4, "-U", USER, "-c", f"\\copy (select * from c order by i) to '{path('back')}'",
         "postgres")
    with open(path("back"), "rb") as f:
        check(digest(f.read()) == digest(rows.encode()), "rows")


@case
def many_sessions_at_a_time():
    check(together(40, lambda n: psql(f"select {n}, pg_sleep(0.2)")) == [f"{n}|\n" for n in range(40)], "40 sessions")


@case
def pgbench():
    near(f"{BIN}/pgbench", "-q", "-i", "-s", "1", "-h", ZS4, "-U", USER, "postgres")
    for args in (("-c8", "-j2"), ("-c4", "-j1", "-S", "-M", "prepared"), ("-c4", "-C", "-S")):
        out = near(f"{BIN}/pgbench", *args, "-T", "2", "-h", ZS4, "-U", USER, "postgres")
        check(re.search(r"number of failed transactions: 0 ", out), out)
        check(int(re.search(r"transactions actually processed: (\d+)", out)[1]) > 10, out)


@case
def a_question_is_cancelled():
    """psql asks for that by a second connection, when it is interrupted."""
    with Near("psql", "-X", "-h", ZS4, "-U", USER, "-c", "select pg_sleep(50)", "postgres", ok=(1, 2)) as p:
        until("it sleeps", lambda: psql("select count(*) from pg_stat_activity where query like '%sleep(50)%' and "
                                        "state = 'active' and pid <> pg_backend_pid()") == "1\n")
        p.process.send_signal(signal.SIGINT)
        p.wait(15)
        check("canceling statement" in p.output() + p.errors(), p.errors())
        p.process.returncode = 0


@case
def a_session_is_ended_by_another():
    with Near("psql", "-X", "-h", ZS4, "-U", USER, "-c", "select pg_sleep(51)", "postgres", ok=(1, 2)) as p:
        until("it is ended", lambda: psql("select count(pg_terminate_backend(pid)) from pg_stat_activity where query like "
                                          "'%sleep(51)%' and pid <> pg_backend_pid()") == "1\n")
        p.wait(15)
        check("terminating connection" in p.errors() + p.output(), p.errors())
        p.process.returncode = 0


@case
def clients_of_z_stack():
    with server(NearUser, "linux", LINUX4, 5433):
        check(psql("select 1", far, LINUX4, 5433) == "1\n", "to Linux")
        near(f"{BIN}/pgbench", "-q", "-i", "-s", "1", "-h", LINUX4, "-p", "5433", "-U", USER, "postgres")
        out = far(f"{BIN}/pgbench", "-c8", "-j2", "-T", "2", "-h", LINUX4, "-p", "5433", "-U", USER, "postgres")
        check(re.search(r"number of failed transactions: 0 ", out), out)
    check(psql("select 2", far) == "2\n", "to a program of Z-Stack")


@case
def a_copy_follows_the_main_server():
    """pg_basebackup, then streaming replication from one Z-Stack program to another."""
    copy = path("copy")
    os.makedirs(copy, 0o700)
    os.chown(copy, pw.pw_uid, pw.pw_gid)
    far(f"{BIN}/pg_basebackup", "-h", ZS4, "-U", USER, "-D", copy, "-R", "-X", "stream", "-c", "fast", user=USER)
    with start(App, "copy", ZS4, 5434):
        psql("create table later as select 7 n")
        until("the change arrives", lambda: psql("select n from later", port=5434, ok=False) == "7\n")


@case
def a_killed_session_makes_all_start_again():
    pid = psql("select pg_backend_pid()")
    victim = Near("psql", "-X", "-h", ZS4, "-U", USER, "-c", "select pg_sleep(52)", "postgres", ok=(1, 2))
    pid = until("it sleeps", lambda: psql("select pid from pg_stat_activity where query like '%sleep(52)%' and "
                                          "pid <> pg_backend_pid()", ok=False).strip())
    os.kill(int(pid), signal.SIGKILL)
    check(victim.wait(15) != 0, "its client is told")
    until("it serves again", lambda: psql("select 1", ok=False) == "1\n")
    check(psql("select count(*) from t") == "50000\n", "the table")


@case
def server_ends_in_order():
    check(main.stop(signal.SIGINT) == 0, main.errors()[-1500:])


world.finish(120)
