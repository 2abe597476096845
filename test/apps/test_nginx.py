#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""nginx, master and workers, from Debian's package: test_nginx.py [kernel]."""
import atexit
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import threading
import time

import world
from world import (LINUX4, ZS4, ZS6, App, Failed, Near, case, check, connect, digest, near, path, pattern, put, recv_all,
                   together, until)

world.start("nginx", "wrk", "openssl", "curl")
BIG = pattern(32 << 20)
FILES = {"index.html": b"<p>hello</p>\n", "empty.txt": b"", "one.txt": b"1", "k64.bin": pattern(65536),
         "odd.bin": pattern(1_000_003), "big.bin": BIG}
for name, data in FILES.items():
    put(f"www/{name}", data)
os.makedirs(path("tmp"), mode=0o777, exist_ok=True)
for d in ("tmp", "up"):
    os.makedirs(path(d), exist_ok=True)
    os.chmod(path(d), 0o777)
cert, key = world.certificate()

COMMON = """
user www-data;
error_log {folder}/{name}-error.log info;
pid {folder}/{name}.pid;
events {{ worker_connections 2048; }}
"""
PLACES = """
    client_body_temp_path {folder}/tmp/{name}b; proxy_temp_path {folder}/tmp/{name}p;
    fastcgi_temp_path {folder}/tmp/{name}f; uwsgi_temp_path {folder}/tmp/{name}u; scgi_temp_path {folder}/tmp/{name}s;
    access_log off;
"""
FRONT = COMMON + """
worker_processes 3;
http {{""" + PLACES + """
    sendfile on; tcp_nopush on; keepalive_timeout 60; keepalive_requests 1000000; client_max_body_size 100m;
    types {{ text/html html; }}
    upstream other {{ server {zs}:8081; keepalive 8; }}
    server {{
        listen {zs}:80; listen [{zs6}]:80; listen {zs}:443 ssl http2; listen {zs}:8080 reuseport;
        ssl_certificate {cert}; ssl_certificate_key {key};
        root {folder}/www;
        add_header X-Pid $pid;
        location /version {{ return 200 "{version}\\n"; }}
        location /up/ {{ root {folder}; dav_methods PUT DELETE; }}
        location /other/ {{ proxy_pass http://other/; proxy_http_version 1.1; proxy_set_header Connection ""; }}
        location /linux/ {{ proxy_pass http://{linux}:8082/; proxy_request_buffering off; }}
        location /dead/ {{ proxy_pass http://{zs}:9/; }}
        location /slow/ {{ alias {folder}/www/; limit_rate 8m; }}
    }}
}}
"""
BACK = COMMON + """
http {{""" + PLACES + """
    server {{
        listen {listen}; root {folder}/www; client_max_body_size 100m;
        location /up/ {{ root {folder}; dav_methods PUT DELETE; }}
    }}
}}
"""


def conf(template, name, **values):
    return put(f"{name}.conf", template.format(name=name, folder=world.folder, zs=ZS4, zs6=ZS6, linux=LINUX4, cert=cert,
                                               key=key, **values))


def nginx(how, config):
    return how("nginx", "-c", config, "-e", path("start.log"), "-g", "daemon off;")


back = nginx(App, conf(BACK, "back", listen=f"{ZS4}:8081"))
linux = nginx(Near, conf(BACK, "linux", listen=f"{LINUX4}:8082"))
front = nginx(App, conf(FRONT, "front", version="0"))
world.await_port(8081, program=back)
world.await_port(8082, LINUX4, program=linux)
world.await_port(80, program=front)


def master(name="front"):
    with open(path(f"{name}.pid")) as f:
        return int(f.read() or 0)  # it may be there, and not be written yet


def get(where, host=ZS4, port=80, method="GET", body=None, tls=False, timeout=20):
    """The answer's status and body."""
    c = http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context(cafile=cert)) if tls \
        else http.client.HTTPConnection(host, port, timeout=timeout)
    with contextlib.closing(c):
        c.request(method, where, body)
        answer = c.getresponse()
        return answer.status, answer.read()


def same(got, name):
    check(got[0] == 200, f"{name}: status {got[0]}")
    check(len(got[1]) == len(FILES[name]), f"{name}: {len(got[1])} bytes of {len(FILES[name])}")
    check(digest(got[1]) == digest(FILES[name]), f"{name}: other bytes")


@case
def listeners_are_taken():
    for port in (80, 443, 8080, 8081):
        world.is_taken(port)


@case
def files_arrive_as_they_are():
    for host in (ZS4, ZS6):
        for name in FILES:
            same(get("/" + name, host), name)


@case
def connection_is_kept_for_many_requests():
    c = http.client.HTTPConnection(ZS4, 80, timeout=20)
    for n in range(300):
        name = ("one.txt", "k64.bin", "empty.txt", "index.html")[n % 4]
        c.request("GET", "/" + name)
        answer = c.getresponse()
        same((answer.status, answer.read()), name)
    c.close()


@case
def pipelined_requests_are_answered_in_order():
    s = connect(ZS4, 80)
    names = ["one.txt", "k64.bin", "index.html", "odd.bin"] * 10
    s.sendall(b"".join(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % n.encode() for n in names[:-1])
              + b"GET /odd.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = recv_all(s)
    for n in names:
        head, _, answer = answer.partition(b"\r\n\r\n")
        check(answer[:len(FILES[n])] == FILES[n], f"{n}: {head}")
        answer = answer[len(FILES[n]):]
    check(answer == b"", "too much")


@case
def large_bodies_go_up():
    for n, size in enumerate((0, 1, 70_000, 1_000_003, 32 << 20)):
        body = pattern(size, seed=n)
        check(get(f"/up/{n}", method="PUT", body=body)[0] in (201, 204), "PUT")
        with open(path("up", str(n)), "rb") as f:
            check(digest(f.read()) == digest(body), f"{size} bytes uploaded")


@case
def tls_both_ways():
    for name in ("one.txt", "odd.bin", "big.bin"):
        same(get("/" + name, port=443, tls=True), name)
    body = pattern(8 << 20, seed=9)
    check(get("/up/tls", port=443, tls=True, method="PUT", body=body)[0] in (201, 204), "PUT")
    with open(path("up", "tls"), "rb") as f:
        check(digest(f.read()) == digest(body), "uploaded by TLS")


@case
def http2_by_curl():
    near("curl", "-sS", "--http2", "--cacert", cert, "-o", path("h2.bin"), f"https://{ZS4}/big.bin")
    with open(path("h2.bin"), "rb") as f:
        check(digest(f.read()) == digest(BIG), "big.bin by HTTP/2")


def proxied(prefix):
    for name in ("one.txt", "odd.bin", "big.bin"):
        same(get(prefix + name), name)
    body = pattern(8 << 20, seed=len(prefix))
    check(get(prefix + "up/proxied", method="PUT", body=body)[0] in (201, 204), "PUT")
    with open(path("up", "proxied"), "rb") as f:
        check(digest(f.read()) == digest(body), "uploaded through the proxy")
    check(all(s == 200 for s, _ in together(16, lambda n: get(prefix + "k64.bin"))), "16 at a time")


@case
def proxy_to_another_program_of_z_stack():
    proxied("/other/")


@case
def proxy_to_linux():
    proxied("/linux/")


@case
def proxy_to_nobody_is_a_bad_gateway():
    check(get("/dead/")[0] == 502, "status")


@case
def many_clients_at_a_time():
    def fetch(n):
        for name in ("k64.bin", "odd.bin", "one.txt"):
            same(get("/" + name, port=(80, 8080)[n % 2]), name)
    together(64, fetch)


@case
def hundreds_of_idle_connections():
    idle = [connect(ZS4, 80) for _ in range(600)]
    same(get("/odd.bin"), "odd.bin")
    for s in idle[::3]:
        s.sendall(b"GET /one.txt HTTP/1.1\r\nHost: a\r\n\r\n")
    for s in idle[::3]:
        check(s.recv(4096).startswith(b"HTTP/1.1 200"), "an idle connection")
    for s in idle:
        s.close()


@case
def clients_that_leave_in_the_middle():
    for n in range(60):
        s = connect(ZS4, 80)
        s.sendall(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        s.recv(1 + n * 1000)
        s.close()
    same(get("/one.txt"), "one.txt")


def load(*url):
    out = near("wrk", "-t1", "-c64", "-d2", *url)
    m = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    check(not m or m.groups() == ("0", "0", "0", "0"), out)
    check("Non-2xx" not in out, out)
    check(float(re.search(r"Requests/sec: +([0-9.]+)", out)[1]) > 100, out)
    return out


@case
def load_without_an_error():
    load(f"http://{ZS4}/one.txt")
    load(f"http://{ZS4}:8080/k64.bin")
    load("-H", "Connection: close", f"http://{ZS4}/one.txt")


class Load:
    """Clients that fetch all the time, new connections and kept ones; what was lost."""

    def __init__(self, port=80):
        self.port = port
        self.end, self.done, self.lost, self.versions = False, 0, [], set()
        self.threads = [threading.Thread(target=w, daemon=True) for w in [self.new] * 4 + [self.kept] * 4]
        for t in self.threads:
            t.start()

    def took(self, status, body):
        self.done += 1
        self.versions.add(body)
        if status != 200:
            self.lost.append(status)

    def new(self):
        while not self.end:
            try:
                self.took(*get("/version", port=self.port))
            except OSError as e:
                self.lost.append(repr(e))

    def kept(self):
        """A server may close a kept connection that idles while a request is on its way: that one is sent again, on a
        new connection (RFC 9112 §9.5)."""
        c, used = None, 0
        while not self.end:
            try:
                if c is None:
                    c, used = http.client.HTTPConnection(ZS4, self.port, timeout=20), 0
                c.request("GET", "/version")
                answer = c.getresponse()
                used += 1
                self.took(answer.status, answer.read())
            except (OSError, http.client.HTTPException) as e:
                if used == 0 or isinstance(e, (http.client.IncompleteRead, socket.timeout)):
                    self.lost.append(repr(e))
                c = None

    def stop(self):
        self.end = True
        for t in self.threads:
            t.join(30)
        check(not self.lost, f"{len(self.lost)} of {self.done} requests were lost: {self.lost[:5]}")


def workers(name="front"):
    """Workers of a far nginx that are not shutting down."""
    out = world.sh(f"ps --ppid {master(name)} -o pid=,args=", ok=False)
    return [int(l.split()[0]) for l in out.splitlines() if "worker process" in l and "shutting" not in l]


@case
def reload_loses_no_request():
    clients = Load()
    for version in range(1, 6):
        conf(FRONT, "front", version=str(version))
        old = set(workers())
        os.kill(master(), signal.SIGHUP)
        until("other workers", lambda: len(workers()) == 3 and not old & set(workers()))
        want = f"{version}\n".encode()
        until(f"version {version} is served", lambda: get("/version")[1] == want)
        time.sleep(0.3)
    until("all versions", lambda: len(clients.versions) >= 5)
    clients.stop()
    check(clients.done > 100, f"only {clients.done} requests")


@case
def a_killed_worker_is_replaced():
    before = workers()
    os.kill(before[0], signal.SIGKILL)
    until("a new worker", lambda: len(workers()) == 3 and before[0] not in workers())
    for _ in range(50):
        same(get("/one.txt"), "one.txt")
    load(f"http://{ZS4}/one.txt")


def pid_that_answers(port):
    with contextlib.closing(http.client.HTTPConnection(ZS4, port, timeout=20)) as c:
        c.request("GET", "/one.txt")
        return c.getresponse().headers["X-Pid"]


@case
def all_workers_serve():
    pids = set()

    def pid():
        together(32, lambda n: pids.add(pid_that_answers(80)))
        return len(pids) > 1
    until("more than one worker has answered", pid)


@case
def new_binary_takes_over_the_listeners():
    """USR2: the master executes nginx again, which finds the listening descriptors by their numbers. Only one in the
    background does that."""
    daemon = conf(FRONT.replace("{zs}:80;", "{zs}:8090;").replace("[{zs6}]:80", "[{zs6}]:8090")
                  .replace(":443", ":8493").replace(":8080", ":8091"), "daemon", version="0")
    world.far(shutil.which("nginx"), "-c", daemon, "-e", path("start.log"), background=True)
    atexit.register(lambda: os.path.exists(path("daemon.pid")) and os.killpg(master("daemon"), signal.SIGKILL))
    world.await_port(8090)
    world.is_taken(8090)
    clients = Load(8090)
    old = master("daemon")
    os.kill(old, signal.SIGUSR2)
    until("a new master", lambda: os.path.exists(path("daemon.pid.oldbin")) and os.path.exists(path("daemon.pid"))
          and master("daemon") != old and len(workers("daemon")) == 3)
    time.sleep(0.3)
    os.kill(old, signal.SIGQUIT)
    until("the old one is gone", lambda: not os.path.exists(path("daemon.pid.oldbin")))
    same(get("/odd.bin", port=8090), "odd.bin")
    time.sleep(0.3)
    clients.stop()
    world.is_taken(8090)
    os.kill(master("daemon"), signal.SIGTERM)
    until("it has left", lambda: not os.path.exists(path("daemon.pid")))


@case
def master_and_workers_outlive_the_service():
    """The workers are another user's: they can't have bound port 80, nor share what the master binds."""
    def answers():
        for port in (80, 8080):
            until(f"port {port} answers", lambda port=port: world.accepts(port))
            for _ in range(20):
                same(get("/one.txt", port=port), "one.txt")

    pids = set()
    until("all workers serve", lambda: pids.add(pid_that_answers(8080)) or len(pids) == 3)
    world.replace_service()
    answers()
    # Each has written over its arguments.
    names = [json.loads(a)["program"] for a in
             world.sh(f"{world.tool} --json --socket {world.socket_path} apps").splitlines()]
    check(names and set(names) == {"nginx"}, f"{names}")
    old = workers()
    os.kill(master(), signal.SIGHUP)
    until("new workers", lambda: len(workers()) == 3 and not set(workers()) & set(old))
    answers()
    os.kill(workers()[0], signal.SIGKILL)
    until("a new worker", lambda: len(workers()) == 3)
    answers()
    load(f"http://{ZS4}/one.txt")


@case
def a_worker_forked_without_a_service_serves_at_the_next():
    """The master makes it during the outage. It has its listeners, which are those of the others, and sleeps: nginx
    writes a line for each accept() that fails."""
    if world.kernel:
        return
    before = until("all workers", lambda: len(workers()) == 3 and workers())
    world.service.process.kill()
    world.service.wait(20)
    os.kill(before[0], signal.SIGKILL)
    until("a new worker", lambda: len(workers()) == 3 and before[0] not in workers())
    new = (set(workers()) - set(before)).pop()
    until("it sleeps", lambda: world.sleeps(new))
    world.serve()
    for port, n in ((80, 2), (8080, 3)):
        pids = set()

        def served(port=port, n=n, pids=pids):
            together(16, lambda i: pids.add(pid_that_answers(port)))
            return str(new) in pids and len(pids) >= n
        until(f"port {port} answers", lambda port=port: world.accepts(port))
        until(f"{n} workers, with the new one, serve port {port}", served)
    with open(path("front-error.log")) as log:
        failed = [line for line in log if f" {new}#" in line and "accept" in line]
    check(not failed, f"{len(failed)} lines: {failed[:2]}")
    load(f"http://{ZS4}/one.txt")


@case
def quit_lets_a_download_finish():
    s = connect(ZS4, 80, timeout=30)
    s.sendall(b"GET /slow/big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    first = s.recv(1000)
    os.kill(master(), signal.SIGQUIT)
    until("no more is accepted", lambda: not world.accepts(80))
    head, _, body = (first + recv_all(s)).partition(b"\r\n\r\n")
    check(digest(body) == digest(BIG), f"{len(body)} bytes of {len(BIG)}")
    until("the master has left", lambda: not os.path.exists(path("front.pid")))


@case
def programs_end_in_order():
    check(back.stop(signal.SIGQUIT) == 0 and linux.stop(signal.SIGQUIT) == 0, back.errors())
    with open(path("front-error.log")) as f:
        bad = [l for l in f if re.search(r"\[(alert|emerg|crit)\]", l) and "exited on signal 9" not in l]
    check(not bad, "".join(bad[:5]))


world.finish()
