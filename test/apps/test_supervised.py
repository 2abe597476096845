#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that can't load the library, from their start on (docs/design/015): static ones, Go's, and what is told to be
served so: test_supervised.py [kernel]."""
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

import world
from world import (LINUX4, LINUX6, PYTHON, ZS4, ZS6, App, Near, build, case, check, check_asleep, check_echo, connect, far,
                   near, path, pattern, put, recv_all, send_until_full, sh, together, until)

world.start()
PROGRAM = os.path.join(build, "test/apps/supervised")
LARGE = pattern(5 << 20)
HERE = os.path.dirname(os.path.abspath(__file__))
SERVICE = ("--service", world.socket_path)


def needs(*programs):
    for p in programs:
        if shutil.which(p) is None:
            raise world.Skip(f"{p} is not installed")


def not_by_the_kernel():
    if world.kernel:
        raise world.Skip("it is about Z-Stack")


def server(mode, addr=ZS4, port=7, **how):
    return App(PROGRAM, mode, addr, port, ready="ready", ok=(0, -15), **how)


def apps():
    """Names and states of those that are attached."""
    out = sh(f"{world.tool} --json --socket {world.socket_path} apps")
    return [a["program"] for a in map(json.loads, out.splitlines())]


def sockets():
    return [l for l in sh(f"{world.tool} --socket {world.socket_path} ss -a").splitlines()[1:] if l and "TIME-WAIT" not in l]


def supervisors():
    """Of this test."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f, open(f"/proc/{pid}/environ", "rb") as e:
                if f.read().startswith(b"supervise:") and world.socket_path.encode() in e.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def nothing_is_left():
    if not world.kernel:
        until("the supervisors end", lambda: not supervisors())
        try:
            until("the sockets are gone", lambda: not sockets())
        except world.Failed:
            raise world.Failed(f"left: {sockets()}") from None


@case
def a_loop_of_poll_echoes():
    with server("polls"):
        world.is_taken(7)
        check_echo(connect(ZS4), LARGE)
        together(8, lambda i: check_echo(connect(ZS4), pattern(200_000 + i, i)))
    nothing_is_left()


@case
def hundreds_of_connections():
    with server("polls"):
        all_of_them = [connect(ZS4) for _ in range(300)]
        for i, s in enumerate(all_of_them):
            s.sendall(b"%d" % i)
        for i, s in enumerate(all_of_them):
            check(recv_all(s, len(b"%d" % i)) == b"%d" % i, "of another")
            s.close()
    nothing_is_left()


@case
def accept_tells_who_comes():
    for addr, host in ((ZS4, LINUX4), (ZS6, LINUX6)):
        with server("forks", addr) as a:
            s = connect(addr)
            name = s.getsockname()
            check_echo(s, pattern(100_000))
            want = f"from {host} {name[1]}\nown {addr} 7\npeer {host} {name[1]}\n"
            until("it says so", lambda: want in a.output())
    with server("forks", "::") as a:
        check_echo(connect(ZS4), pattern(100_000))
        until("a mapped name", lambda: f"peer ::ffff:{LINUX4}" in a.output())
        check_echo(connect(ZS6), pattern(100_000))
        until("a name of IPv6", lambda: f"peer {LINUX6}" in a.output())


@case
def what_is_the_kernels_is_its():
    """A listener at all addresses is both: the kernel's loopback reaches it, untouched."""
    with server("forks", "0.0.0.0") as a:
        out = world.net.far_sh(f"{PYTHON} -c 'import socket; s = socket.create_connection((\"127.0.0.1\", 7)); "
                               "s.sendall(b\"x\" * 9); print(len(s.recv(9, 256)), s.getsockname()[1])'")
        check(out.startswith("9 "), out)
        until("its name", lambda: f"from 127.0.0.1 {out.split()[1]}" in a.output())
        check_echo(connect(ZS4), pattern(100_000))


@case
def strangers_do_not_get_in():
    """The program's own listener stands at a port of loopback: who finds it there is not let in."""
    not_by_the_kernel()
    with server("polls"):
        listeners = re.findall(r"127\.0\.0\.1:(\d+) ", world.net.far_sh("ss -Hltn"))
        check(listeners, "no listener on loopback")
        for port in listeners:
            world.net.far_sh(f"{PYTHON} -c 'import socket\ntry:\n    s = socket.create_connection((\"127.0.0.1\", {port}), 2)\n"
                             "    s.sendall(b\"x\"); s.recv(1) and exit(1)\nexcept OSError:\n    pass'")
        check_echo(connect(ZS4), pattern(100_000))


@case
def several_processes_accept():
    with server("shares"):
        pids = set(together(40, lambda _: recv_all(connect(ZS4))))
        check(len(pids) > 1, f"{pids}")


@case
def a_listener_is_closed_and_there_again():
    with server("again"):
        check_echo(connect(ZS4), pattern(50_000))


@case
def signals_end_accept():
    """A handler without SA_RESTART: accept() says so; and no connection is lost on the way."""
    with server("interrupted") as a:
        a.process.send_signal(signal.SIGUSR1)
        until("EINTR", lambda: "interrupted" in a.output())
        stop = time.monotonic() + 2
        n = 0
        while time.monotonic() < stop:
            s = connect(ZS4)
            for _ in range(5):
                a.process.send_signal(signal.SIGUSR1)
            check(recv_all(s).strip().isdigit(), "no answer")
            s.close()
            n += 1
        check(n > 20, f"{n}")
    nothing_is_left()


@case
def what_it_does_not_read_is_a_reset():
    with server("unread"):
        s = connect(ZS4)
        s.sendall(b"x" * 1000)
        try:
            s.recv(1)
            check(False, "it ended in order")
        except ConnectionResetError:
            pass


@case
def a_full_program_stops_the_peer():
    with server("full"):
        s = connect(ZS4, timeout=1)
        send_until_full(s, 40 << 20)
        if not world.kernel:
            check_asleep(supervisors(), "the supervisor")


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


@case
def ends_and_resets_of_the_peer():
    with server("ends") as a:
        s = connect(ZS4)
        s.sendall(b"abc")
        s.shutdown(socket.SHUT_WR)
        check(recv_all(s) == b"bye", "no answer behind the end")
        check(a.wait(20) == 0 and a.output().endswith("end\n"), a.output())
    with server("ends") as a:
        s = connect(ZS4)
        s.sendall(b"abc")
        time.sleep(0.2)
        reset(s)
        until("a reset", lambda: "reset by peer" in a.output())
        check(a.wait(20) == 0, "it does not end")


class Listener:
    """On Linux's side, one connection."""

    def __init__(self, port, addr=LINUX4):
        self.s = socket.create_server((addr, port), family=socket.AF_INET6 if ":" in addr else socket.AF_INET)
        self.s.settimeout(20)

    def __enter__(self):
        return self.s

    def __exit__(self, *_):
        self.s.close()


def begin(mode, addr, port):
    return App(PROGRAM, mode, addr, port, ok=(0,))


@case
def it_connects():
    """By a call that waits, and by one that does not, on a socket that is in an epoll set already."""
    for mode in ("connects", "starts"):
        for addr, own in ((LINUX4, ZS4), (LINUX6, ZS6)):
            with Listener(7200, addr) as l, begin(mode, addr, 7200) as a:
                s, name = l.accept()
                check(recv_all(s, 5) == b"hello", "something else came")
                s.sendall(b"HELLO")
                check(a.wait(20) == 0, a.errors())
                s.close()
                check(f"own {own} {name[1]}\npeer {addr} 7200\nHELLO\n" in a.output(), a.output())
                if mode == "starts":
                    check("in progress\nconnected\nout\n" in a.output(), a.output())
    nothing_is_left()


@case
def nobody_is_there():
    out = far(PROGRAM, "connects", LINUX4, 7201)
    check(out == "Connection refused\n", out)
    out = far(PROGRAM, "starts", LINUX4, 7201)
    check(out == "Operation now in progress\nConnection refused\nerror hup out\n", out)
    nothing_is_left()


@case
def it_resets_and_ends_half():
    with Listener(7202) as l, begin("resets", LINUX4, 7202):
        s = l.accept()[0]
        check(s.recv(1) == b"x", "no byte")
        s.sendall(b"y")
        try:
            s.recv(1)
            check(False, "it ended in order")
        except ConnectionResetError:
            pass
    with Listener(7203) as l, begin("halves", LINUX4, 7203) as a:
        s = l.accept()[0]
        check(s.recv(1) == b"", "no end")
        s.sendall(LARGE)
        s.close()
        check(a.wait(20) == 0 and a.output() == f"{len(LARGE)}\n", a.output())
    nothing_is_left()


@case
def it_meets_programs_with_the_library():
    serve = put("serve.py", open(os.path.join(HERE, "programs", "serve.py"), "rb").read())
    with App(PYTHON, serve, "threads", ZS4, 7204, ready="listening", ok=(0, -15)):
        out = far(PROGRAM, "connects", ZS4, 7204)
        check(out.endswith(f"peer {ZS4} 7204\nhello\n"), out)
    with server("polls", port=7205):
        out = far(PYTHON, "-c", f"import socket\ns = socket.create_connection(('{ZS4}', 7205))\ns.sendall(b'x' * 99)\n"
                  "print(len(s.recv(99, socket.MSG_WAITALL)))")
        check(out == "99\n", out)


@case
def what_it_starts_is_served_too():
    """A shell that is static, and what it starts, with the library's name nowhere."""
    needs("busybox")
    put("www/index.html", "x" * 1000)
    with Near(PYTHON, "-m", "http.server", "-b", LINUX4, "-d", path("www"), 7206, ok=(0, -15)):
        world.until("it listens", lambda: world.accepts(7206, LINUX4))
        out = far("busybox", "sh", "-c", f"busybox wget -qO- http://{LINUX4}:7206/; curl -sSf http://{LINUX4}:7206/; "
                  "echo $LD_PRELOAD")
        check(out == "x" * 2000 + "\n", out)


@case
def busybox_httpd():
    needs("busybox", "curl")
    put("www/big", LARGE)
    with App("busybox", "httpd", "-f", "-p", f"{ZS4}:8080", "-h", path("www"), ok=(0, -15)) as a:
        world.await_port(8080, program=a)
        world.is_taken(8080)
        near("curl", "-sSf", "-o", path("got"), f"http://{ZS4}:8080/big")
        check(open(path("got"), "rb").read() == LARGE, "other bytes")


def hey(where, n, c, *options):
    """All requests were answered, by a program of Go's."""
    out = where("hey", "-n", n, "-c", c, *options)
    check(re.search(rf"\[200\]\t{n} responses", out) and "Error distribution" not in out, out)


class Caddy(App):
    def __init__(self, **how):
        put("www/big", LARGE)
        put("www/index.html", "x" * 1000)
        put("Caddyfile", "{\n\tadmin off\n\tauto_https off\n}\nhttp://:8081 {\n\troot * " + path("www") + "\n\tfile_server\n}\n"
            f"http://:8082 {{\n\treverse_proxy {ZS4}:8081\n}}\n")
        super().__init__("caddy", "run", "--config", path("Caddyfile"), "--adapter", "caddyfile", ok=(0, -15), **how,
                         env={"XDG_DATA_HOME": path("data"), "XDG_CONFIG_HOME": path("config")})
        world.await_port(8081, program=self)


@case
def caddy_serves():
    needs("caddy", "curl")
    with Caddy():
        world.is_taken(8081)
        for addr in (ZS4, f"[{ZS6}]"):
            near("curl", "-sSf", "-o", path("got"), f"http://{addr}:8081/big")
            check(open(path("got"), "rb").read() == LARGE, "other bytes")
        near("curl", "-sSf", "-o", path("got"), f"http://{ZS4}:8082/big")
        check(open(path("got"), "rb").read() == LARGE, "other bytes by its proxy")
        near("ab", "-q", "-n", "2000", "-c", "20", "-k", f"http://{ZS4}:8081/")
        near("ab", "-q", "-n", "1000", "-c", "20", f"http://{ZS4}:8081/")
    nothing_is_left()


@case
def hey_asks():
    needs("caddy", "hey")
    with Caddy():
        hey(far, 1000, 20, f"http://{ZS4}:8081/")
        hey(far, 300, 10, "-disable-keepalive", f"http://{ZS4}:8081/")
    put("www/index.html", "x" * 1000)
    with Near("busybox", "httpd", "-f", "-p", f"{LINUX4}:7207", "-h", path("www"), ok=(0, -15)):
        until("it listens", lambda: world.accepts(7207, LINUX4))
        hey(far, 200, 10, f"http://{LINUX4}:7207/")


@case
def as_another_user():
    """Without the right to filter programs that gain rights it gives them up."""
    with server("polls", port=7208, user=world.USER):
        world.is_taken(7208) if not world.kernel else None
        check_echo(connect(ZS4, 7208), pattern(100_000))
    out = far(PROGRAM, "polls", ZS4, 9, user=world.USER, ok=False)
    check(out == "Permission denied\n" or world.kernel, out)


@case
def rights_that_it_gave_up_are_gone():
    """The supervisor still has them."""
    needs("busybox")
    for addr in (ZS4, "0.0.0.0"):
        out = far("busybox", "sh", "-c", f"/usr/bin/setpriv --reuid={world.USER} --regid={world.USER} --clear-groups "
                  f"{PROGRAM} polls {addr} 9", ok=False)
        check(out == "Permission denied\n", out)


@case
def verbose_and_apps_say_so():
    not_by_the_kernel()
    with server("polls", options=("-v",)) as a:
        said = a.errors()
        check("is linked statically" in said and "it is served by a supervisor" in said, said)
        check(re.search(rf"zstack: supervised\[{a.process.pid}\]: tcp bind {ZS4}:7 \(fd 3\): taken", said), said)
        check(apps() == ["supervise:supervised"], f"{apps()}")
    with server("forks", options=("--leave", ":7", "-v"), addr="0.0.0.0") as a:
        check("kernel: a rule" in a.errors(), a.errors())
        check(not world.accepts(7), "it is taken")
    nothing_is_left()


@case
def without_it_that_is_said():
    not_by_the_kernel()
    run = [world.tool, "run", *SERVICE]

    def refused(because, *argv):
        p = subprocess.run(argv, preexec_fn=world.go_far, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           env=world.clean_environment(), timeout=30, check=False)
        check(p.returncode == 126 and because in p.stdout and p.stdout.count("\n") == 1, f"{p.returncode}: {p.stdout}")
    refused("loopback is down", "unshare", "-n", *run, PROGRAM, "polls", ZS4, "7")
    # There is one supervisor for a program and all that it starts.
    refused("seccomp's user notification: Device or resource busy", *run, "busybox", "sh", "-c",
            " ".join([*run, PROGRAM, "polls", ZS4, "7"]) + "; exit $?")


@case
def the_supervisor_is_killed():
    """The peer and the program see an end; the service and others go on, and nothing stays behind."""
    not_by_the_kernel()
    with server("polls", port=7209) as other:
        before = supervisors()
        a = server("ends")
        its = [p for p in supervisors() if p not in before]
        check(len(its) == 1, f"{its}")
        s = connect(ZS4)
        s.sendall(b"x")
        time.sleep(0.2)
        os.kill(its[0], signal.SIGKILL)
        try:
            check(s.recv(1) == b"", "no end")
        except ConnectionResetError:
            pass
        s.close()
        check(a.wait(20) == 0, "it hangs")
        check_echo(connect(ZS4, 7209), pattern(100_000))
        check(other.alive(), "the other ended")
        a.end()
    nothing_is_left()


@case
def the_service_is_replaced():
    not_by_the_kernel()
    with server("polls"):
        s = connect(ZS4)
        s.sendall(b"x")
        check(s.recv(1) == b"x", "no echo")
        world.replace_service()
        world.await_port(7)
        check_echo(connect(ZS4), pattern(100_000))
    nothing_is_left()


world.finish(60)
