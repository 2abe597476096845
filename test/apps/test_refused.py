#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Children that the service has no place for, as their user has as many programs as are allowed: test_refused.py."""
import contextlib
import http.client
import json
import os
import signal
import subprocess

import world
from world import PYTHON, ZS4, App, case, check, check_echo, connect, cpu_seconds, path, pattern, put, recv_all, sh, until

LIMIT = 4
world.domains = ("-c", put("zstackd.conf", f"[domain all]\nusers = *\nbind = 1-65535\nprograms = {LIMIT}\n"))
world.start("nginx")
CONF = """user www-data; worker_processes 2; pid {folder}/nginx.pid; error_log {folder}/error.log info; daemon off;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen {zs}:80; location / {{ return 200 $pid; }} }} }}
"""


def programs():
    return [json.loads(a)["pid"] for a in sh(f"{world.tool} --json --socket {world.socket_path} apps").splitlines()]


def nginx():
    return App("nginx", "-c", put("nginx.conf", CONF.format(folder=world.folder, zs=ZS4)), ok=(0, -15))


def master():
    with open(path("nginx.pid"), encoding="ascii") as f:
        return int(f.read())


def workers():
    out = sh(f"ps --ppid {master()} -o pid=,args=", ok=False)
    return {int(l.split()[0]) for l in out.splitlines() if "worker process" in l and "shutting" not in l}


def who():
    with contextlib.closing(http.client.HTTPConnection(ZS4, 80, timeout=20)) as c:
        c.request("GET", "/")
        return int(c.getresponse().read())


def answered(pids):
    """Are these just those who answer?"""
    return {who() for _ in range(64)} == pids


def log():
    """Standard error of nginx is there, too."""
    with open(path("error.log"), encoding="utf-8") as f:
        return f.read()


def errors_of(pid):
    return [line for line in log().splitlines() if f" {pid}#" in line and "failed" in line]


HOLDER = """import socket, sys, time
s = socket.socket()
while True:
    try:
        s.bind(("%s", int(sys.argv[1])))
        break
    except OSError:
        time.sleep(0.1)
print("ready", flush=True)
sys.stdin.read()
"""


def holder(port):
    return App(PYTHON, "-c", HOLDER % ZS4, port, ready="ready", stdin=subprocess.PIPE, ok=(0, -15))


@case
def a_worker_that_is_refused_serves_when_there_is_room():
    """Until then it sleeps: it has its listeners, and no accept() fails."""
    with nginx() as p:
        world.await_port(80, program=p)
        world.is_taken(80)
        first = until("both workers", lambda: len(workers()) == 2 and workers())
        until("both serve", lambda: answered(first))
        os.kill(master(), signal.SIGSTOP)
        victim, other = sorted(first)
        os.kill(victim, signal.SIGKILL)
        until("the service knows", lambda: victim not in programs())
        with holder(1001), holder(1002):
            check(len(programs()) == LIMIT, f"{programs()}")
            os.kill(master(), signal.SIGCONT)
            until("a new worker", lambda: len(workers()) == 2 and victim not in workers())
            new = (workers() - first).pop()
            until("it sleeps", lambda: world.sleeps(new))
            until("it was told why", lambda: "no place at the service yet" in log())
            check(answered({other}), "another than the one that has a place answers")
            check(new not in programs() and other in programs(), f"{new}: {programs()}")
            check(not errors_of(new), f"{errors_of(new)}")
            check(cpu_seconds(new) < 0.5, f"it has taken {cpu_seconds(new)} s")
        until("the new one serves, too", lambda: answered({new, other}))
        check(not errors_of(new), f"{errors_of(new)}")


@case
def a_reload_at_the_limit_loses_no_request():
    with nginx() as p, holder(1001):
        world.await_port(80, program=p)
        old = until("both workers", lambda: len(workers()) == 2 and workers())
        os.kill(master(), signal.SIGHUP)
        until("others", lambda: len(workers()) == 2 and not workers() & old)
        for _ in range(200):
            who()
        until("both serve", lambda: answered(workers()))


SERVER = """import errno, os, socket, subprocess, sys
l = socket.create_server(("%s", 7))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("%s", 8))
print("ready", flush=True)
c, _ = l.accept()
print("there", flush=True)
sys.stdin.readline()
helpers = [subprocess.run(["echo", "helper"], stdout=subprocess.PIPE).stdout, os.popen("echo popen").read().encode()]
if os.fork() == 0:
    try:
        c.recv(1)
    except OSError as e:
        print(errno.errorcode[e.errno], c.recv(1), flush=True)
    c.close()
    while True:
        s, _ = l.accept()
        s.sendall(b"child")
        s.close()
while data := c.recv(65536):
    c.sendall(data)
c.close()
c, _ = l.accept()
c.sendall(b" ".join(helpers))
c.sendall(u.recv(100))
c.close()
sys.stdin.readline()
"""


@case
def who_has_a_child_that_is_refused_goes_on():
    """Programs that it starts are not concerned. The child's connection is reset there, and goes on here; what both
    accept, the child accepts when there is room."""
    with App(PYTHON, "-c", SERVER % (ZS4, ZS4), ready="ready", stdin=subprocess.PIPE, ok=(0, -15, 1)) as p:
        s = connect(ZS4)
        p.await_line("there")
        with holder(1001), holder(1002), holder(1003):
            p.process.stdin.write(b"\n")
            p.process.stdin.flush()
            p.await_line("ECONNRESET b''")
            check_echo(s, pattern(300000))
            with contextlib.closing(connect(ZS4)) as t, world.socket.socket(world.socket.AF_INET, world.socket.SOCK_DGRAM) as u:
                u.sendto(b" datagram", (ZS4, 8))
                check(recv_all(t) == b"helper\n popen\n datagram", "what the parent has")
        with contextlib.closing(connect(ZS4)) as t:
            check(recv_all(t) == b"child", "what the child accepts")


EXECUTES = """import os, socket, sys
l = socket.create_server(("%s", 7))
l.set_inheritable(True)
print("ready", flush=True)
sys.stdin.readline()
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], str(l.fileno())])
"""
EXECUTED = """import socket, sys
l = socket.socket(fileno=int(sys.argv[1]))
print("executed", flush=True)
while True:
    s, _ = l.accept()
    s.sendall(b"executed")
    s.close()
"""


@case
def a_program_that_is_executed_at_the_limit_serves():
    """Its own place is the one that there will be."""
    with App(PYTHON, "-c", EXECUTES % ZS4, EXECUTED, ready="ready", stdin=subprocess.PIPE, ok=(-15,)) as p:
        with holder(1001), holder(1002), holder(1003):
            p.process.stdin.write(b"\n")
            p.process.stdin.flush()
            p.await_line("executed")
            until("it serves", lambda: world.accepts(7))
            with contextlib.closing(connect(ZS4)) as t:
                check(recv_all(t) == b"executed", "what it accepts")


world.finish()
