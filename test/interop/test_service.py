#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""zstackd: the examples attached to one service, what is refused to whom, and that everything comes back when
programs end, whichever way (H31, H34 to H37)."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

import peer
import service
from peer import LINUX4, ZS4, ZS6, Failed, Net, Skip, case, check, check_echo, connect, pattern
from service import OTHER, USER, App, Service, Watcher, app, refused, until, watched

peer.start()
service.install()
net = Net("af_packet")


def serve(addr=LINUX4):
    """An echo server of Linux; its port."""
    sock = peer.listen(addr)
    sock.settimeout(None)

    def one(s):
        with contextlib.suppress(OSError), s:
            while data := s.recv(65536):
                s.sendall(data)

    def accept():
        while True:
            s, _ = sock.accept()
            threading.Thread(target=one, args=(s,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return sock.getsockname()[1]


backend = serve()
EXAMPLES = (("echo", 7), ("http", os.path.join(service.folder, "www"), 80), ("udp_echo", 7),
            ("proxy", 81, LINUX4, backend))


def together(*work):
    """Runs functions at the same time; all must succeed."""
    bad = []

    def one(f):
        try:
            f()
        except (OSError, Failed) as e:
            bad.append(e)
    threads = [threading.Thread(target=one, args=(f,)) for f in work]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not bad, f"{len(bad)} of {len(work)}: {bad[:1]}")


def http_get(addr):
    s = connect(addr, 80)
    s.sendall(b"GET /index.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    check(peer.recv_all(s).endswith(b"hello\n"), "no page")
    s.close()


def udp_round(addr):
    s = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(1)
    for i in range(50):
        data = pattern(8 + i * 20, i)
        for _ in range(5):
            s.sendto(data, (addr, 7))
            with contextlib.suppress(TimeoutError):
                while (back := s.recv(65536)) != data:  # a late one of before
                    check(back == pattern(len(back), (len(back) - 8) // 20), "what came back was never sent")
                break
        else:
            raise Failed("no answer")
    s.close()


@case
def the_examples_run_attached_and_side_by_side():
    with watched(net) as (s, w):
        start = w.levels()
        with contextlib.ExitStack() as programs:
            for e in EXAMPLES:
                programs.enter_context(App(s, *e))
            data = pattern(8 << 20)
            together(*[lambda a=a, p=p: check_echo(connect(a, p), data) for a in (ZS4, ZS6) for p in (7, 81)],
                     *[lambda a=a: http_get(a) for a in (ZS4, ZS6)], *[lambda a=a: udp_round(a) for a in (ZS4, ZS6)])
        w.await_levels(start)


@case
def a_program_is_charged_for_what_it_uses():
    """docs/design/011, "What a process costs": of native programs, too. The arena is a shared file."""
    with watched(net) as (s, _), App(s, "echo", 7) as p:
        check_echo(connect(ZS4, 7), pattern(1 << 20))
        with open(f"/proc/{p.process.pid}/status", encoding="ascii") as f:
            kb = next(int(line.split()[1]) for line in f if line.startswith("VmData:"))
        # Terabytes are AddressSanitizer's shadow memory.
        check(kb < 16 << 10 or kb > 1 << 30, f"{kb >> 10} MB that it may write")


@case
def the_client_gets_and_sends():
    with watched(net) as (s, w):
        data = pattern(8 << 20)
        path = os.path.join(service.folder, "data")
        with open(path, "wb") as f:
            f.write(data)
        with open(path, "rb") as f, App(s, "client", LINUX4, backend, ready=None, stdin=f) as c:
            check(c.wait() == 0, c.errors())
            c.log.seek(0)
            check(c.log.read() == data, "what came back differs")


@case
def nothing_is_copied_within_one_trust_domain():
    """Neither by the API nor between domains: received buffers go out by handle."""
    with watched(net) as (s, w), App(s, "proxy", 81, LINUX4, backend) as p:
        before = w.counters()
        check_echo(connect(ZS4, 81), pattern(8 << 20))
        after = w.counters()
        check(after["sock_domain_copied_bytes"] == 0, f"{after['sock_domain_copied_bytes']} bytes between domains")
        check(after["sock_loans"] > before["sock_loans"], "no buffer was lent")
        check(p.stop() == 0, p.errors())
        check(p.counter("payload bytes copied by the API") == 0, p.errors())


@case
def payload_is_copied_once_with_two_trust_domains():
    """H36: the memory that the port receives into is shown to nobody."""
    with watched(net, "--allow", "0", "--allow", str(USER)) as (s, w):
        with App(s, "proxy", 8081, LINUX4, backend, user=USER) as p:
            n, before = 8 << 20, w.counters()["sock_domain_copied_bytes"]
            check_echo(connect(ZS4, 8081), pattern(n))
            copied = w.counters()["sock_domain_copied_bytes"] - before
            # Each byte is received twice: from the client and from the server. Requests to the watcher are few.
            check(2 * n <= copied < 2 * n + 1000, f"{copied} bytes copied, {2 * n} received")
            check(p.stop() == 0, p.errors())
            check(p.counter("payload bytes copied by the API") == 0, p.errors())


@case
def h35_h36_memory_that_is_handed_out_is_sealed():
    with watched(net, "--allow", "0", "--allow", str(USER)) as (s, w):
        start = w.levels()
        mine, other = [app(s, "grab", user=u) for u in (None, USER)]
        check(mine[-1] == other[-1] == "grab 0", f"{mine} {other}")
        check(mine[0] != other[0], "two domains got the same packet region")
        check(app(s, "grab", user=USER)[0] == other[0], "one domain got two packet regions")
        w.await_levels(start)


@case
def h37_users_without_permission_are_refused():
    with watched(net, "--allow", f"0,{USER}") as (s, w):
        check("may not attach" in refused(s, "echo", 7, user=OTHER), "user without permission")
        with App(s, "echo", 7777, user=USER):
            check_echo(connect(ZS4, 7777), pattern(1000))
    with watched(net, "--allow", "*") as (s, w):
        check("may not attach" in refused(s, "echo", 7, user=service.NOBODY), "user that the host doesn't know")
        with App(s, "echo", 7777, user=OTHER):
            check_echo(connect(ZS4, 7777), pattern(1000))


@case
def h37_low_ports_are_roots_at_the_time_of_binding():
    with watched(net, "--allow", f"0,{USER}") as (s, w):
        check(app(s, "start", "bind", "80", "bind", "8080", user=USER)[1:] == ["bind -13", "bind 0"], "a user's")
        got = app(s, "start", "bind", "80", "setuid", USER, "bind", "80", "bind", "8080")
        check(got == ["start 0", "bind 0", "setuid 0", "bind -13", "bind 0"], f"{got}")
        # Who is of no domain any more gets none of its ports.
        check("Permission denied" in refused(s, "echo", 7, user=USER), "echo")


CONF = os.path.join(service.folder, "zstackd.conf")


def configure(text):
    with open(CONF, "w") as f:
        f.write(text)
    return "-c", CONF


@case
def h37_limits_of_programs_sockets_memory_and_ports():
    conf = configure(f"[domain root]\nusers = 0\n[domain web]\nusers = {USER}\nbind = 80, {ZS4}:81\n"
                     "programs = 2\nsockets = 10\nmemory = 1\n")
    with watched(net, *conf) as (s, w):
        start = w.levels()
        with App(s, "app", "start", "sockets", 11, "wait", 60, user=USER) as a:
            check("sockets 10\n" in a.output(), a.output())
            maps = open(f"/proc/{a.process.pid}/maps").read()
            arenas = [line.split()[0].split("-") for line in maps.split("\n") if "zstack-arena" in line]
            check([int(e, 16) - int(b, 16) for b, e in arenas] == [1 << 20], f"arenas: {arenas}")
            with App(s, "echo", 80, user=USER) as e:
                check_echo(connect(ZS4, 80), pattern(8 << 20))
                check("is the limit" in refused(s, "echo", 80, user=USER), "third program")
                e.kill()
            until("a place for another program", lambda: app(s, "start", "bind", "79", "bind", "81", "bind", "8080",
                                                             user=USER)[1:] == ["bind -13"] * 3)
            a.kill()
        w.await_levels(start)


@case
def h37_thousands_of_attaches_are_refused_and_leave_nothing():
    with watched(net, "--allow", f"0,{USER}") as (s, w):
        start, n = w.levels(), s.descriptors()
        with App(s, "app", "crowd", 1000, "wait", 60, user=USER, ready="listening") as a:
            check("attaches more than 16 programs at once" in refused(s, "echo", 7777, user=USER), "one more of it")
            check_echo_through(s, 7)
            a.kill()
        until("its descriptors come back", lambda: s.descriptors() == n)
        check(len(s.errors().split("\n")) < 100, "the log is full of it")
        w.await_levels(start)


def check_echo_through(s, port):
    """A fresh program works."""
    with App(s, "echo", port):
        check_echo(connect(ZS4, port), pattern(100000))


@case
def program_of_another_protocol_version_is_told():
    with watched(net) as (s, w):
        got = app(s, "version", "99")
        check("different versions" in got[0] and got[1] == "version -93", f"{got}")
        check(app(s, "version", "0") == ["version 0"], "the own version")
        check_echo_through(s, 7)


@case
def h31_killed_programs_leave_nothing():
    with watched(net) as (s, w):
        start, n = w.levels(), s.descriptors()
        for name, *args in EXAMPLES:
            a = App(s, name, *args)
            opened = [connect(ZS4, args[0] if name != "http" else 80) for _ in range(20)] if name != "udp_echo" else []
            for c in opened:
                c.sendall(b"GET /index.html HTTP/1.1\r\n")
            a.kill()
            for c in opened:  # FIN or RST
                with contextlib.suppress(ConnectionError):
                    peer.recv_all(c)
                c.close()
            # The port is free at once, for whoever comes.
            with App(s, name, *args):
                pass
        w.await_levels(start)
        until("its descriptors come back", lambda: s.descriptors() == n)
        check("is gone" in s.errors(), s.errors())


@case
def h31_program_that_executes_another_has_left():
    with watched(net) as (s, w):
        start = w.levels()
        with App(s, "app", "start", "listen", 7, "exec", 60) as a:
            until("its port is free", lambda: "Address already in use" not in refused_or_fine(s))
            a.kill()
        w.await_levels(start)


def refused_or_fine(s):
    a = App(s, "app", "start", "bind", 7, ready=None)
    a.wait(20)
    return "Address already in use" if "bind -98" in a.output() else ""


@case
def h31_program_that_closes_all_descriptors_disturbs_nobody():
    with watched(net) as (s, w):
        start = w.levels()
        with App(s, "app", "start", "listen", 9, "closefrom", 3, "wait", 60) as a, App(s, "echo", 7):
            check_echo(connect(ZS4, 7), pattern(1 << 20))
            # It still maps its memory: it is no dead one.
            check("is gone" not in s.errors(), s.errors())
            connect(ZS4, 9).close()
            a.kill()
        w.await_levels(start)


@case
def h34_stopped_program_disturbs_nobody():
    with watched(net) as (s, w):
        start = w.levels()
        with App(s, "echo", 7) as e, App(s, "http", os.path.join(service.folder, "www"), 80), \
                App(s, "echo", 70) as stopped, App(s, "app", "start", "hoard", 71) as hoards:
            kept = [connect(ZS4, port) for port in (70, 71) for _ in range(20)]
            os.kill(stopped.process.pid, signal.SIGSTOP)
            data = pattern(1 << 20)
            for c in kept:
                c.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    c.sendall(data)
            for _ in range(3):
                check_echo(connect(ZS4, 7), pattern(4 << 20))
                http_get(ZS6)
            os.kill(stopped.process.pid, signal.SIGCONT)
            for c in kept:
                c.close()
            check_echo(connect(ZS4, 70), data)
            hoards.kill()
            check(e.alive(), "echo died")
        w.await_levels(start)


@case
def h34_flood_of_messages_disturbs_nobody():
    """Thousands of requests for grants whose answers are not read; other programs come, go and transfer."""
    with watched(net) as (s, w), App(s, "echo", 7):
        start = w.levels()
        with App(s, "app", "flood", "80", ready="packets") as a:
            for i in range(5):
                check_echo(connect(ZS4, 7), pattern(2 << 20))
                check_echo_through(s, 70 + i)
            a.kill()
        w.await_levels(start)


@case
def what_keeps_it_from_starting_is_said():
    far = {"addrs": (), "ready": None}
    with Service(net) as s:
        text = Service(net, **far).refused_to_start()
        check(f"another zstackd answers at {s.path}" in text, text)
        check(os.path.exists(s.path), "the second one removed the first one's socket")
        check_echo_through(s, 7)
    with open(service.socket_path, "w") as f:
        f.write("a file")
    text = Service(net, **far).refused_to_start()
    check("a file is in the way" in text and os.path.exists(service.socket_path), text)
    os.unlink(service.socket_path)
    text = Service(net, *configure("[node]\nmtu = x\n"), **far).refused_to_start()
    check(f"{CONF}:2: mtu = x: give a number" in text, text)
    text = Service(net, path="/proc/zstackd.sock", **far).refused_to_start()
    check("--socket /proc/zstackd.sock: " in text, text)
    text = Service(net, path=f"{service.folder}/none/x.sock", **far).refused_to_start()
    check(f"there is no directory {service.folder}/none" in text, text)
    check(not os.path.exists(f"{service.folder}/none"), "it was made")
    text = Service(net, path="/" + 120 * "x", **far).refused_to_start()
    check("too long" in text, text)
    text = Service(net, addrs=("10.7.0.2/33",), ready=None).refused_to_start()
    check("--addr 10.7.0.2/33" in text and not os.path.exists(service.socket_path), text)


@case
def socket_file_of_a_killed_service_is_no_obstacle():
    s = Service(net)
    s.process.kill()
    s.process.wait()
    check(os.path.exists(s.path), "no file was left: nothing is tested")
    with watched(net) as (s, w):
        check_echo_through(s, 7)


@case
def of_many_that_start_at_once_one_serves():
    """With what a killed one left behind in their way, which each may remove: none removes another's socket."""
    left = Service(net)
    for _ in range(5):
        left.process.kill()
        left.process.wait()
        check(os.path.exists(left.path), "no file was left: nothing is tested")
        many = [Service(net, ready=None) for _ in range(16)]
        until("one is left", lambda m=many: sum(s.alive() for s in m) <= 1, 30)
        left = [s for s in many if s.alive()]
        check(len(left) == 1, "none serves")
        left = left[0]
        for s in many:
            if s is not left:
                check(s.process.returncode == 1, f"ended with {s.process.returncode}")
                check(f"another zstackd answers at {s.path}" in s.errors(), s.errors())
        left.await_line("zstackd: ready at")
        check_echo_through(left, 7)
        check(not os.path.exists(left.path + ".lock"), "the lock is still there")
    check(left.stop() == 0, left.errors())
    service.nothing_left(left)


@case
def two_that_find_the_same_socket_file_do_not_both_serve():
    """One is held up, by strace, when it is about to remove the file; the other starts meanwhile."""
    if shutil.which("strace") is None:
        raise Skip("strace is not installed (devtools/packages.txt)")
    left = Service(net)
    left.process.kill()
    left.process.wait()
    slow = ("strace", "-D", "-o", os.path.join(service.folder, "strace.out"), "-e", "trace=unlink", "-e",
            "inject=unlink:delay_enter=1500000")
    with Service(net, prefix=slow, ready=None) as first:
        until("it looks at the file", lambda: os.path.exists(f"{left.path}.lock"))
        text = Service(net, ready=None).refused_to_start()
        check(f"another zstackd answers at {left.path}" in text, text)
        first.await_line("zstackd: ready at")
        check_echo_through(first, 7)


def zstack(path, *args):
    return subprocess.run([os.path.join(peer.build, "tools/zstack"), "--socket", path, *args], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=30).stdout


@case
def an_address_at_an_interface_is_one_services():
    """And may be another's when it is given up, or its service was killed."""
    other, more = os.path.join(service.folder, "other.sock"), "10.7.0.9/24"
    with Service(net) as first, App(first, "echo", 7):
        held = f"another zstackd (process {first.process.pid}) has this address at zs0"
        text = Service(net, path=other, ready=None).refused_to_start()
        check(f"--addr {ZS4}/24: {held}" in text, text)
        with Service(net, path=other, addrs=(more,)) as second:
            for addr in (f"{ZS4}/24", f"{ZS6}/64"):
                check(f"addr {addr}: {held}" in (text := zstack(other, "addr", "add", addr)), text)
            check("is there already" in (text := zstack(other, "addr", "add", more)), text)
            check_echo(connect(ZS4, 7), pattern(20000))
            check(zstack(second.path, "addr", "del", "10.7.0.9") == "", "del")
            check(zstack(first.path, "addr", "add", more) == "", "add: it was given up")
            check("another zstackd" in (text := zstack(other, "addr", "add", more)), text)
        check_echo(connect(ZS4, 7), pattern(20000))
    left = Service(net, path=other)
    left.process.kill()
    with Service(net) as s:
        check_echo_through(s, 7)
    left.process.wait()
    os.unlink(other)


@case
def who_takes_the_name_of_an_address_keeps_no_service_away():
    squat = ("import glob, socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
             f"s.bind(chr(0) + 'zstack-address/%d.0/{ZS4}' % socket.if_nametoindex('zs0'))\ns.listen(1)\n"
             "print('taken', flush=True)\nsys.stdin.read()")
    p = subprocess.Popen([*service.as_user(USER), sys.executable, "-c", squat], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, preexec_fn=net.go_far)
    check(p.stdout.readline() == b"taken\n", "it is not taken")
    with Service(net) as s:
        check("is taken by a program of another user" in s.errors(), s.errors())
        check_echo_through(s, 7)
    p.stdin.close()
    p.wait()


@case
def ending_service_leaves_the_next_ones_socket_alone():
    with Service(net) as first:
        os.unlink(first.path)
        with Service(net, addrs=("10.7.0.9/24",)) as second:
            check(first.stop() == 0, first.errors())
            check(os.path.exists(second.path), "the second one's socket is gone")
            check(app(second, "start") == ["start 0"], "nobody attaches")


@case
def abstract_address_serves_too():
    """Names of this kind belong to a network namespace."""
    with Service(net, path=f"@zstackd-test-{os.getpid()}") as s, App(s, "echo", 7, preexec_fn=net.go_far):
        check_echo(connect(ZS4, 7), pattern(100000))


@case
def program_without_a_service_is_told_what_to_do():
    with Service(net) as s:
        pass
    check("no service answers at" in refused(s, "echo", 7), "no sentence")


peer.run(120)
