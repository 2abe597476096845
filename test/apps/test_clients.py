#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""curl, wrk and ab, from Debian's packages, as clients of Linux's nginx: test_clients.py [kernel]."""
import os
import re
import shutil
import socket
import time

import world
from world import LINUX4, LINUX6, Near, case, check, digest, far, path, pattern, put

world.start("nginx", "curl", "wrk", "ab", "openssl")
FILES = {"one.txt": b"1", "k64.bin": pattern(65536), "odd.bin": pattern(1_000_003), "big.bin": pattern(32 << 20)}
for name, data in FILES.items():
    put(f"www/{name}", data)
cert, key = world.certificate()
for d in ("up", "tmp"):
    os.makedirs(path(d), exist_ok=True)
    os.chmod(path(d), 0o777)
server = Near(shutil.which("nginx"), "-e", path("start.log"), "-g", "daemon off;", "-c", put("nginx.conf", f"""
user www-data; error_log {path('error.log')} info; pid {path('nginx.pid')}; worker_processes 2;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {path('tmp/b')}; proxy_temp_path {path('tmp/p')}; fastcgi_temp_path {path('tmp/f')};
    uwsgi_temp_path {path('tmp/u')}; scgi_temp_path {path('tmp/s')}; access_log off; sendfile on;
    keepalive_requests 1000000; client_max_body_size 100m;
    server {{
        listen {LINUX4}:80; listen [{LINUX6}]:80; listen {LINUX4}:443 ssl http2; root {path('www')};
        ssl_certificate {cert}; ssl_certificate_key {key};
        location /up/ {{ root {world.folder}; dav_methods PUT DELETE; }}
    }}
}}
"""))
world.await_port(80, LINUX4, program=server)


def curl(*args, **how):
    return far("curl", "-sS", "-g", "-m", "60", *args, **how)


def fetched(name, *args):
    curl(*args, "-o", path("out"))
    with open(path("out"), "rb") as f:
        got = f.read()
    check(digest(got) == digest(FILES[name]), f"{name}: {len(got)} bytes of {len(FILES[name])}")


def connections_are_taken(*argv):
    """While it runs, the kernel of that side has no connection of its own."""
    before = world.net.far_sh("nstat -asz TcpActiveOpens 2>/dev/null | grep TcpActiveOpens; true").split()
    out = far(*argv)
    after = world.net.far_sh("nstat -asz TcpActiveOpens 2>/dev/null | grep TcpActiveOpens; true").split()
    check(world.kernel or before == after, f"the kernel opened connections: {before} {after}")
    return out


@case
def curl_is_taken():
    check(connections_are_taken("curl", "-sS", f"http://{LINUX4}/one.txt") == "1", "one.txt")


@case
def curl_downloads():
    for host in (LINUX4, f"[{LINUX6}]"):
        for name in FILES:
            fetched(name, f"http://{host}/{name}")


@case
def curl_by_tls_and_http2():
    fetched("big.bin", "--cacert", cert, f"https://{LINUX4}/big.bin")
    fetched("big.bin", "--http1.1", "--cacert", cert, f"https://{LINUX4}/big.bin")


@case
def curl_uploads():
    for n, name in enumerate(FILES):
        curl("-T", path("www", name), f"http://{LINUX4}/up/{n}")
        with open(path("up", str(n)), "rb") as f:
            check(digest(f.read()) == digest(FILES[name]), name)


@case
def curl_reuses_a_connection():
    out = curl("-v", f"http://{LINUX4}/one.txt", f"http://{LINUX4}/one.txt", f"http://{LINUX4}/one.txt")
    check(out.count("Re-using existing connection") == 2, out)


@case
def curl_in_parallel():
    out = curl("-Z", "--parallel-max", "30", *[x for n in range(60) for x in (f"http://{LINUX4}/odd.bin?{n}", "-o", path(f"z{n}"))])
    for n in range(60):
        with open(path(f"z{n}"), "rb") as f:
            check(digest(f.read()) == digest(FILES["odd.bin"]), f"file {n}: {out}")
        os.unlink(path(f"z{n}"))


@case
def curl_resumes():
    curl("-r", "0-499999", "-o", path("part"), f"http://{LINUX4}/odd.bin")
    curl("-C", "-", "-o", path("part"), f"http://{LINUX4}/odd.bin")
    with open(path("part"), "rb") as f:
        check(digest(f.read()) == digest(FILES["odd.bin"]), "odd.bin")


@case
def curl_says_what_is_wrong():
    for code, args in (("7", [f"http://{LINUX4}:9/"]),
                       ("28", ["-m", "1", f"http://{LINUX4}:9999/"]),
                       ("52", [f"http://{LINUX4}:9998/"])):
        with socket.create_server((LINUX4, 9999)), socket.create_server((LINUX4, 9998)) as closer:
            import threading
            if code == "52":
                threading.Thread(target=lambda: [s := closer.accept()[0], s.recv(1000), s.close()], daemon=True).start()
            begin = time.monotonic()
            out = far("sh", "-c", "curl -sS -m 20 \"$@\" >/dev/null; echo $?", "sh", *args)
            check(out.split()[-1] == code, f"{args}: {out}, not {code}")
            check(time.monotonic() - begin < 15, "at once")


@case
def curl_from_a_port_of_its_choice():
    out = curl("-w", "%{local_ip} %{local_port}", "--local-port", "30000-30010", "-o", "/dev/null", f"http://{LINUX4}/one.txt")
    check(re.fullmatch(rf"{world.ZS4} 300\d\d", out), out)
    out = curl("-w", "%{local_ip}", "--interface", world.ZS4, "-o", "/dev/null", f"http://{LINUX4}/one.txt")
    check(out == world.ZS4, out)


def load(out):
    m = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    check(not m or m.groups() == ("0", "0", "0", "0"), out)
    check("Non-2xx" not in out and float(re.search(r"Requests/sec: +([0-9.]+)", out)[1]) > 100, out)


@case
def wrk():
    load(connections_are_taken("wrk", "-t2", "-c64", "-d2", f"http://{LINUX4}/one.txt"))
    load(far("wrk", "-t1", "-c1", "-d1", f"http://{LINUX4}/one.txt"))
    load(far("wrk", "-t2", "-c16", "-d2", f"http://{LINUX4}/k64.bin"))
    load(far("wrk", "-t2", "-c16", "-d2", "-H", "Connection: close", f"http://{LINUX4}/one.txt"))
    load(far("wrk", "-t2", "-c16", "-d1", f"https://{LINUX4}/k64.bin"))


@case
def ab():
    for args in (("-k",), (), ("-n", "300", "-c", "200")):
        for what in ("one.txt", "k64.bin"):
            out = far("ab", "-q", "-n", "2000", "-c", "32", *args, f"http://{LINUX4}/{what}")
            check(re.search(r"Failed requests: +0", out) and "Non-2xx" not in out, out)
            check(re.search(r"Complete requests: +(2000|300)\b", out), out)
    check("Failed requests:        0" in connections_are_taken("ab", "-q", "-n", "10", f"http://{LINUX4}/one.txt"), "ab")


@case
def server_ends_in_order():
    import signal
    check(server.stop(signal.SIGQUIT) == 0, server.errors())


world.finish()
