#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The HTTP example against Linux's clients: test_http.py [af_packet|af_xdp|tap]."""
import os
import re
import resource
import shutil
import socket
import sys
import tempfile

import peer
from peer import ZS4, ZS6, Net, Program, Skip, case, check, connect, digest, pattern, recv_all, sh

peer.start()
net = Net(sys.argv[1] if len(sys.argv) > 1 else "af_packet")
folder = tempfile.TemporaryDirectory()
root = os.path.join(folder.name, "www")
BIG = pattern(64 << 20)
FILES = {"index.html": b"<p>hello</p>\n", "empty.txt": b"", "one.txt": b"1", "page.css": pattern(1000),
         "sub/edge.bin": pattern(65536), "sub/over.bin": pattern(65537), "large.bin": BIG}
for name, data in FILES.items():
    os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
    with open(os.path.join(root, name), "wb") as f:
        f.write(data)
with open(os.path.join(folder.name, "secret"), "w") as f:
    f.write("secret")
os.symlink("../secret", os.path.join(root, "leak"))
server = Program(net, "http", root, "80")


def curl(path, options="", host=ZS4):
    return sh(f"curl -sS --path-as-is -m 60 {options} 'http://{host}{path}'", ok=False)


def raw(request, wait=True):
    """Everything that the server says to these bytes until it closes."""
    s = connect(ZS4, 80)
    s.sendall(request)
    if wait:
        s.shutdown(socket.SHUT_WR)
    answer = recv_all(s)
    s.close()
    return answer


def status(request):
    line = raw(request).split(b"\r\n", 1)[0].decode()
    check(line.startswith("HTTP/1.1 "), f"{request[:60]!r} is answered with {line!r}")
    return int(line.split()[1])


@case
def files_arrive_as_they_are():
    for host in (ZS4, f"[{ZS6}]"):
        for name, data in FILES.items():
            out = os.path.join(folder.name, "out")
            curl("/" + name, f"-g -o {out}", host)
            with open(out, "rb") as f:
                check(digest(f.read()) == digest(data), f"{name} from {host}")


@case
def directory_is_its_index():
    check(curl("/").encode() == FILES["index.html"], "/")


@case
def headers_are_complete():
    out = curl("/page.css", "-D - -o /dev/null")
    for want in (r"HTTP/1.1 200 OK", r"Content-Length: 1000\b", r"Content-Type: text/css",
                 r"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"):
        check(re.search(want, out), f"{want}: {out}")


@case
def head_has_no_body():
    answer = raw(b"HEAD /page.css HTTP/1.1\r\nHost: a\r\n\r\n")
    check(b"Content-Length: 1000\r\n" in answer and answer.endswith(b"\r\n\r\n"), answer[:300])


@case
def connection_is_kept():
    out = curl("/one.txt", f"-v -o /dev/null http://{ZS4}/page.css -o /dev/null")
    check("Re-using existing connection" in out, out)


@case
def connection_close_is_honoured():
    for request in (b"GET /one.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"GET /one.txt HTTP/1.0\r\n\r\n"):
        answer = raw(request, wait=False)
        check(answer.endswith(b"\r\n\r\n1") and b"Connection: close" in answer, answer)


@case
def pipelined_requests_are_answered_in_order():
    names = ["one.txt", "page.css", "sub/edge.bin", "index.html", "empty.txt", "sub/over.bin"] * 20
    answer = raw(b"".join(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % n.encode() for n in names))
    for n in names:
        head, _, answer = answer.partition(b"\r\n\r\n")
        size = int(re.search(rb"Content-Length: (\d+)", head).group(1))
        check(answer[:size] == FILES[n], f"{n}: {head}")
        answer = answer[size:]
    check(answer == b"", f"{len(answer)} bytes too many")


@case
def request_in_single_bytes():
    s = connect(ZS4, 80)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for b in b"GET /one.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":
        s.send(bytes([b]))
    check(recv_all(s).endswith(b"\r\n\r\n1"), "answer")
    s.close()


@case
def errors_have_their_status():
    for want, request in (
            (404, b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n"),
            (404, b"GET /sub HTTP/1.1\r\nHost: a\r\n\r\n"),
            (405, b"DELETE /one.txt HTTP/1.1\r\nHost: a\r\n\r\n"),
            (405, b"POST /one.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
            (400, b"GET /one.txt HTTP/1.1\r\n\r\n"),
            (400, b"nonsense\r\n\r\n"),
            (400, b"GET /one.txt HTTP/1.1\r\nHost a\r\n\r\n"),
            (400, b"GET /one%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, b"GET /one.txt%00.html HTTP/1.1\r\nHost: a\r\n\r\n"),
            (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"),
            (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
            (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20000 + b"\r\n")):
        got = status(request)
        check(got == want, f"{request[:50]!r}: {got}, not {want}")


@case
def nothing_outside_the_directory():
    for path in ("/../secret", "/sub/../../secret", "/%2e%2e/secret", "/sub/%2e%2e%2f%2e%2e%2fsecret", "/leak", "//../secret"):
        body = curl(path, "-w '%{http_code}'")
        check("secret" not in body.replace(path, "") and body[-3:] in ("400", "403", "404"), f"{path}: {body}")


@case
def client_that_leaves_in_the_middle():
    for n in range(50):
        s = connect(ZS4, 80)
        s.sendall(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        s.recv(1 + n * 1000)
        s.close()
    check(curl("/one.txt") == "1", "one.txt")


@case
def slow_readers_of_a_large_file_cost_bounded_memory():
    """Each gets the file at its own pace; the server must not load it for each."""
    readers = [connect(ZS4, 80, SO_RCVBUF=65536) for _ in range(50)]
    for s in readers:
        s.sendall(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    check(curl("/one.txt") == "1", "one.txt")
    out = os.path.join(folder.name, "out")
    curl("/large.bin", f"-o {out}")
    with open(out, "rb") as f:
        check(digest(f.read()) == digest(BIG), "large.bin beside slow readers")
    for s in readers:
        s.close()
    with open(f"/proc/{server.process.pid}/status") as f:
        rss = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    check(rss < 1024 << 10, f"{rss} kB resident")


@case
def a_thousand_readers_that_read_nothing_disturb_nobody():
    """Each holds a piece of a file that is not cached."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    readers = [connect(ZS4, 80, SO_RCVBUF=4096) for _ in range(1000)]
    for n, s in enumerate(readers):
        s.sendall(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        if n % 250 == 249:
            check(curl("/one.txt") == "1", f"one.txt beside {n + 1}")
            out = os.path.join(folder.name, "out")
            curl("/large.bin", f"-o {out}")
            with open(out, "rb") as f:
                check(digest(f.read()) == digest(BIG), f"large.bin beside {n + 1}")
    for s in readers:
        s.close()


@case
def stats_page_shows_sockets():
    out = curl("/stats")
    check("LISTEN" in out.upper() and "ESTAB" in out.upper(), out)


@case
def load_by_wrk():
    if shutil.which("wrk") is None:
        raise Skip("wrk is not installed (devtools/packages.txt)")
    for options in ("-c1", "-c64", "-c256", "-c16 -H 'Connection: close'"):
        out = sh(f"wrk -t1 {options} -d2 http://{ZS4}/page.css", ok=False)
        rate = re.search(r"Requests/sec:\s+([0-9.]+)", out)
        check(rate and float(rate.group(1)) > 100, f"{options}: {out}")
        check("Socket errors" not in out and "Non-2xx" not in out, f"{options}: {out}")
        print(f"# wrk {options}: {rate.group(1)} requests/s")


@case
def payload_was_not_copied():
    check(server.stop() == 0, server.errors())
    check(server.counter("copied by the API") == 0, "bytes copied")


peer.run(120)
