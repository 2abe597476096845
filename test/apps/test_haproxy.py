#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""haproxy from Debian's package, master and threads, between Z-Stack's and Linux's servers: test_haproxy.py [kernel]."""
import contextlib
import http.client
import os
import re
import shutil
import signal
import ssl
import threading
import time

import world
from world import LINUX4, ZS4, ZS6, App, Near, case, check, connect, digest, near, path, pattern, put, together, until

world.start("haproxy", "nginx", "wrk", "openssl")
FILES = {"one.txt": b"1", "k64.bin": pattern(65536), "odd.bin": pattern(1_000_003), "big.bin": pattern(32 << 20)}
for name, data in FILES.items():
    put(f"www/{name}", data)
for d in ("up", "tmp"):
    os.makedirs(path(d), exist_ok=True)
    os.chmod(path(d), 0o777)
cert, key = world.certificate()
with open(cert) as c, open(key) as k:
    put("both.pem", c.read() + k.read())


def backend(how, name, addr):
    return how(shutil.which("nginx"), "-e", path("start.log"), "-g", "daemon off;", "-c", put(f"{name}.conf", f"""
user www-data; error_log {path(name + '.log')} info; pid {path(name + '.pid')};
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {path('tmp', name + 'b')}; proxy_temp_path {path('tmp', name + 'p')}; fastcgi_temp_path {path('tmp', name + 'f')};
    uwsgi_temp_path {path('tmp', name + 'u')}; scgi_temp_path {path('tmp', name + 's')}; access_log off; sendfile on;
    keepalive_requests 1000000; client_max_body_size 100m;
    server {{ listen {addr}:8081; root {path('www')}; add_header X-Who {name};
              location /up/ {{ root {world.folder}; dav_methods PUT; }} }}
}}
"""))


def conf(version):
    return put("haproxy.cfg", f"""
global
    nbthread 2
    maxconn 4000
    stats socket {path('stats.sock')} mode 600 level admin expose-fd listeners
defaults
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    option splice-auto
    retries 3
frontend web
    mode http
    bind {ZS4}:8000
    bind [{ZS6}]:8000
    bind {ZS4}:8443 ssl crt {path('both.pem')} alpn h2,http/1.1
    http-request return status 200 content-type text/plain string "{version}" if {{ path /version }}
    use_backend zs if {{ hdr(host) zs }}
    use_backend linux if {{ hdr(host) linux }}
    default_backend both
backend both
    mode http
    balance roundrobin
    option httpchk GET /one.txt
    server zs {ZS4}:8081 check inter 300ms
    server linux {LINUX4}:8081 check inter 300ms
backend zs
    mode http
    server zs {ZS4}:8081
backend linux
    mode http
    server linux {LINUX4}:8081
listen raw
    mode tcp
    bind {ZS4}:8001
    server linux {LINUX4}:8081
listen raw2
    mode tcp
    bind {ZS4}:8002
    server zs {ZS4}:8081
""")


zs = backend(App, "zs", ZS4)
linux = backend(Near, "linux", LINUX4)
world.await_port(8081, program=zs)
world.await_port(8081, LINUX4, program=linux)
proxy = App(shutil.which("haproxy"), "-W", "-db", "-f", conf(0), ok=(0, 143, -15))
world.await_port(8000, program=proxy)


def get(where, host=ZS4, port=8000, to="any", method="GET", body=None, tls=False):
    c = http.client.HTTPSConnection(host, port, timeout=20, context=ssl.create_default_context(cafile=cert)) if tls \
        else http.client.HTTPConnection(host, port, timeout=20)
    with contextlib.closing(c):
        c.request(method, where, body, {"Host": to})
        answer = c.getresponse()
        return answer.status, answer.read(), answer.headers.get("X-Who")


def same(got, name):
    check(got[0] == 200 and digest(got[1]) == digest(FILES[name]), f"{name}: {got[0]}, {len(got[1])} bytes")


@case
def listeners_are_taken():
    for port in (8000, 8001, 8002, 8443):
        world.is_taken(port)


@case
def files_through_it():
    for to in ("zs", "linux"):
        for name in FILES:
            for host in (ZS4, ZS6):
                same(get("/" + name, host, to=to), name)
            same(get("/" + name, port=8443, tls=True, to=to), name)


@case
def files_through_it_as_a_tunnel():
    for port in (8001, 8002):
        for name in FILES:
            same(get("/" + name, port=port), name)


@case
def large_bodies_go_up():
    for n, (port, to) in enumerate(((8000, "zs"), (8000, "linux"), (8001, "any"), (8002, "any"))):
        body = pattern(16 << 20, seed=n)
        status = get(f"/up/{n}", port=port, to=to, method="PUT", body=body)[0]
        check(status in (201, 204), f"PUT {n}: {status}")
        with open(path("up", str(n)), "rb") as f:
            check(digest(f.read()) == digest(body), f"body {n}")


@case
def both_servers_are_asked():
    until("both are up", lambda: {get("/one.txt")[2] for _ in range(4)} == {"zs", "linux"})
    who = [w for s, _, w in together(16, lambda n: get("/one.txt"))]
    check(set(who) == {"zs", "linux"}, who)


@case
def many_clients_at_a_time():
    def fetch(n):
        for name in ("k64.bin", "odd.bin", "one.txt"):
            same(get("/" + name, port=(8000, 8001, 8002)[n % 3]), name)
    together(64, fetch)


@case
def load_without_an_error():
    for url in (f"http://{ZS4}:8000/one.txt", f"http://{ZS4}:8001/k64.bin", f"http://{ZS4}:8000/version"):
        out = near("wrk", "-t1", "-c32", "-d2", url)
        m = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
        check(not m or m.groups() == ("0", "0", "0", "0"), out)
        check("Non-2xx" not in out, out)


@case
def a_server_that_fails_is_left_out_and_comes_back():
    global linux
    linux.end()
    until("it is left out", lambda: {get("/one.txt")[2] for _ in range(6)} == {"zs"})
    check(get("/one.txt", to="linux")[0] == 503, "nobody there")
    linux = backend(Near, "linux", LINUX4)
    until("it is back", lambda: {get("/one.txt")[2] for _ in range(6)} == {"zs", "linux"})


@case
def reload_loses_no_request():
    lost, seen, end = [], set(), []

    def client(n):
        while not end:
            try:
                status, body, _ = get("/version")
                seen.add(body)
                if status != 200:
                    lost.append(status)
            except OSError as e:
                lost.append(repr(e))
    threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(6)]
    for t in threads:
        t.start()
    for version in range(1, 5):
        conf(version)
        proxy.process.send_signal(signal.SIGUSR2)
        until(f"version {version}", lambda: get("/version")[1] == str(version).encode())
        time.sleep(0.3)
    end.append(1)
    for t in threads:
        t.join(20)
    check(not lost, f"{len(lost)} lost: {lost[:5]}")
    check(len(seen) >= 4, seen)
    world.is_taken(8000)


@case
def programs_end_in_order():
    for p, how in ((proxy, signal.SIGTERM), (zs, signal.SIGQUIT), (linux, signal.SIGQUIT)):
        check(p.stop(how) == 0, p.errors()[-2000:])


world.finish()
