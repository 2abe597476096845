#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that make others, and their sockets (H40; programs/process.c says in which ways): test_process.py [kernel]."""
import contextlib
import os
import socket
import subprocess
import threading
import time

import world
from world import ZS4, App, build, case, check, check_echo, connect, path, pattern, put, recv_all, together

PROGRAM = os.path.join(build, "test/apps/process")
world.start()


def process(*argv):
    return App(PROGRAM, *argv, ready="ready", ok=(0, -15))


def well(p):
    check("process:" not in p.errors() and "zstack:" not in p.errors(), p.errors())


def echoes(n=6, size=200000):
    together(n, lambda i: check_echo(connect(ZS4), pattern(size, i)))


def children(p):
    """Of the program; zstack run becomes it."""
    with open(f"/proc/{p.process.pid}/task/{p.process.pid}/children", encoding="ascii") as f:
        return f.read().split()


@case
def exec_takes_sockets_along():
    """With an empty environment, to other numbers, with two of them for one socket."""
    with process("exec") as p:
        world.is_taken(7)
        check_echo(connect(ZS4), pattern(300000))
        echoes(1)
        check_echo(connect(ZS4), pattern(3000))
        world.is_taken(7)
        well(p)


def served(mode, *argv):
    with process(mode, *argv) as p:
        echoes()
        for i in range(3):
            check_echo(connect(ZS4), pattern(50000, i))
        well(p)


@case
def a_child_executes():
    served("child")


@case
def a_child_of_vfork_executes():
    served("vfork")


@case
def a_shell_executes():
    served("shell")


@case
def a_script_is_executed():
    served("script", put("serve.sh", "#!/bin/sh\nexec cat\n", 0o755))


@case
def posix_spawn_takes_what_its_actions_copy():
    served("spawn")


@case
def exec_that_fails_changes_nothing():
    served("fails")


@case
def exec_in_a_child_that_fails_changes_nothing():
    """The child, which has not used its sockets before, serves."""
    served("refused")


@case
def a_child_of_a_child_serves():
    served("forks")


def connected():
    with contextlib.suppress(ConnectionRefusedError):
        return connect(ZS4)


@case
def what_a_child_closes_is_not_held_for_it():
    with process("lives") as p:
        for _ in range(4):
            check_echo(world.until("somebody listens", connected), pattern(50000))
        well(p)


@case
def a_child_that_gave_up_its_rights_serves():
    """Before it used a socket for the first time: root directory, user, memory. The parent has ended."""
    os.makedirs(path("empty"), exist_ok=True)
    p = App(PROGRAM, "nobody", path("empty"))
    try:
        check(p.wait(20) == 0, p.errors())
        world.until("the child accepts", lambda: "ready" in p.output() + p.errors())
        echoes(3)
        well(p)
    finally:
        p.end()


@case
def a_child_in_a_sandbox_serves():
    with process("sandbox") as p:
        for i in range(3):
            check_echo(connect(ZS4), pattern(200000, i))
        well(p)


@case
def a_child_that_waited_while_the_service_was_replaced_serves():
    """H38: it had not used its listener before."""
    go = path("go-restart")
    with process("waits", go) as p:
        world.replace_service()
        put("go-restart", "")
        check_echo(world.until("somebody listens", connected), pattern(50000))
        well(p)


INETD = """import os, socket, sys
l = socket.create_server(("%s", 7))
print("listening", flush=True)
while True:
    c, _ = l.accept()
    if os.fork() == 0:
        os.dup2(c.fileno(), 0)
        os.dup2(c.fileno(), 1)
        os.execvp(sys.argv[1], sys.argv[1:])
    c.close()
"""


def exchange(s, data):
    """Everything that comes back, while the data is sent."""
    def send():
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    got = recv_all(s)
    sender.join(30)
    return got


@case
def an_executed_program_has_the_socket_as_its_streams():
    """As inetd and socat do it. The C library reads and writes stdin and stdout past all hooks."""
    lines = b"".join(b"line %d of x\n" % i for i in range(20000))
    for argv, send, want in ((["sed", "s/x/y/"], lines, lines.replace(b"x", b"y")),
                             (["head", "-n", "3"], lines[:36], lines[:36]),
                             (["sort", "-r"], b"a\nb\n", b"b\na\n"), (["cat"], lines, lines)):
        p = App(world.PYTHON, "-c", INETD % ZS4, *argv, ready="listening")
        with contextlib.closing(connected()) as s:
            got = exchange(s, send)
        check(got == want, f"{argv[0]}: {len(got)} bytes, not {len(want)}: {got[:60]!r} {p.errors()[-300:]}")
        p.end()


PREFORK = """import fcntl, os, socket, sys
l = socket.create_server(("%s", 7))
for i in range(3):
    if os.fork() == 0:
        os.setgid(33)
        os.setuid(33)
        lock = open(sys.argv[1], "w")
        while True:
            if sys.argv[2] == "turns":
                fcntl.flock(lock, fcntl.LOCK_EX)
            c, _ = l.accept()
            fcntl.flock(lock, fcntl.LOCK_UN)
            while data := c.recv(1000):
                c.sendall(data)
            c.close()
print("listening", flush=True)
os.wait()
"""


@case
def who_serves_one_is_not_given_the_next():
    """Three sleep in accept(); who got a connection sleeps over that one, and the others have their turns."""
    put("turn", "", mode=0o666)
    p = App(world.PYTHON, "-c", PREFORK % ZS4, path("turn"), "together", ready="listening")
    with connect(ZS4) as busy:
        check(world.peer.echo(busy, b"x", half_close=False) == b"x", "the first")
        for i in range(8):
            with connect(ZS4, timeout=10) as s:
                check(world.peer.echo(s, b"x", half_close=False) == b"x", f"connection {i} behind it")
            time.sleep(0.05)
    p.end()


@case
def who_takes_turns_in_accept_does_so_at_the_next_service():
    """As Apache's processes: what one of them would get while another has its turn, nobody takes."""
    put("turn", "", mode=0o666)
    p = App(world.PYTHON, "-c", PREFORK % ZS4, path("turn"), "turns", ready="listening")
    echoes()
    for _ in range(2):
        world.replace_service()
        check_echo(world.until("somebody listens", connected), pattern(5000))
        for i in range(20):
            check_echo(connect(ZS4, timeout=20), pattern(5000, i))
        echoes(9)
    p.end()


EXECUTED = PREFORK.replace('l = socket.create_server(("%s", 7))', """if len(sys.argv) < 4:
    l = socket.create_server(("%s", 7))
    os.set_inheritable(l.fileno(), True)
    os.execv(sys.executable, [*sys.orig_argv, str(l.fileno())])
l = socket.socket(fileno=int(sys.argv[3]))""")
EXECUTE = """import fcntl, os, socket, sys
if len(sys.argv) < 3:
    l = socket.create_server(("%s", 7))
    os.set_inheritable(l.fileno(), True)
    for i in range(3):
        if os.fork() == 0:
            os.execv(sys.executable, [*sys.orig_argv, str(l.fileno())])
    os.wait()
l = socket.socket(fileno=int(sys.argv[2]))
lock = open(sys.argv[1], "w")
print("listening", flush=True)
while True:
    fcntl.flock(lock, fcntl.LOCK_EX)
    c, _ = l.accept()
    fcntl.flock(lock, fcntl.LOCK_UN)
    while data := c.recv(1000):
        c.sendall(data)
    c.close()
"""
PASS_ON = """import fcntl, os, socket, sys
a, b = socket.socketpair()
if os.fork() == 0:
    l = socket.socket(fileno=socket.recv_fds(b, 1, 1)[1][0])
else:
    l = socket.create_server(("%s", 7))
    socket.send_fds(a, [b"x"], [l.fileno()])
""" + EXECUTE[EXECUTE.index("lock ="):]


def taken_in_turns_at_the_next_service(text, *argv, n):
    put("turn", "", mode=0o666)
    p = App(world.PYTHON, "-c", text % ZS4, path("turn"), *argv, ready="listening")
    world.until("all listen", lambda: p.output().count("listening") == n)
    echoes()
    world.replace_service()
    check_echo(world.until("somebody listens", connected), pattern(5000))
    for i in range(20):
        check_echo(connect(ZS4, timeout=20), pattern(5000, i))
    p.end()


@case
def children_of_who_was_executed_as_root_have_its_port_at_the_next_service():
    """As nginx's workers when a new binary has taken over: they are another user's."""
    taken_in_turns_at_the_next_service(EXECUTED, "turns", n=1)


@case
def who_was_executed_with_a_listener_has_one_queue_with_the_others_at_the_next_service():
    taken_in_turns_at_the_next_service(EXECUTE, n=3)


@case
def who_was_passed_a_listener_has_one_queue_with_the_sender_at_the_next_service():
    taken_in_turns_at_the_next_service(PASS_ON, n=2)


AWAY = """import errno, os, socket, sys, threading, time
ours, theirs = ("%s", 7), ("10.6.0.1", 9)
kernel = socket.create_server(theirs)
mine = socket.create_server(ours)
socket.create_connection(ours).close()
turns = 0

def busy():
    global turns
    while True:
        socket.socket(socket.AF_UNIX).close()
        socket.socket(socket.AF_INET).setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        turns += 1
        time.sleep(0.01)

def reach(to, blocks):
    with socket.socket() as s:
        s.setblocking(blocks)
        return errno.errorcode.get(s.connect_ex(to), "yes")

threading.Thread(target=busy, daemon=True).start()
print("ready", flush=True)
for _ in sys.stdin:
    before = turns
    print(reach(theirs, True), *(reach(ours, b) for b in (True, False, True)), flush=True)
    while turns < before + 5:
        time.sleep(0.01)
    print("busy", flush=True)
"""


@case
def while_there_is_no_service_a_program_goes_on():
    """What was the kernel's still is, what would be ours ends at once, and no other thread waits for that."""
    if world.kernel:
        return
    world.net.far_sh("ip link set lo up; ip addr add 10.6.0.1/32 dev lo")
    p = App(world.PYTHON, "-c", AWAY % ZS4, ready="ready", stdin=subprocess.PIPE)

    def asked(n):
        p.process.stdin.write(b"\n")
        p.process.stdin.flush()
        world.until("it answers", lambda: p.output().count("busy") == n)
        return p.output().splitlines()[-2].split()
    check(asked(1) == ["yes", "yes", "EINPROGRESS", "yes"], p.output())
    world.service.process.kill()
    world.service.wait(20)
    for n in (2, 3):
        check(asked(n) == ["yes", *["ENETDOWN"] * 3], p.output() + p.errors())
    world.serve()
    world.until("it is served again", lambda n=iter(range(4, 100)): asked(next(n))[1] == "yes")
    p.end()


ORPHAN = """import errno, os, select, socket, sys, threading
l = socket.create_server(("%s", 7))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("%s", 8))
e = select.epoll()
e.register(l, select.EPOLLIN)
e.register(u, select.EPOLLIN)
print("ready", flush=True)
c, _ = l.accept()
u.recvfrom(100)
print("there", flush=True)
sys.stdin.readline()

def said(f, *args):
    try:
        return f(*args)
    except OSError as e:
        return errno.errorcode[e.errno]

who = b"child" if os.fork() == 0 else b"parent"
if who == b"child" and sys.argv[1] == "again" and os.fork() != 0:
    os.wait()
l.setblocking(False)
u.setblocking(False)
print(who.decode(), said(c.recv, 10), said(l.accept), said(u.recv, 10), e.poll(0), flush=True)
l.setblocking(True)

def answer():
    while True:
        for fd, _ in e.poll():
            if fd == u.fileno():
                try:
                    u.sendto(who, u.recvfrom(100)[1])
                except BlockingIOError:
                    pass

threading.Thread(target=answer, daemon=True).start()
e.modify(l, 0)
while True:
    s, _ = l.accept()
    s.sendall(who)
    s.close()
"""


def who_accepts():
    with contextlib.closing(connect(ZS4)) as s:
        return recv_all(s)


def who_answers():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.sendto(b"x", (ZS4, 8))
        return s.recv(100)


def outlived_without_a_service(how):
    """A child that is forked then has all that its parent has: both find the next service, and have one queue there."""
    if world.kernel:
        return
    p = App(world.PYTHON, "-c", ORPHAN % (ZS4, ZS4), how, ready="ready", stdin=subprocess.PIPE)
    with contextlib.closing(connect(ZS4)), contextlib.suppress(TimeoutError):
        who_answers()
        world.until("it has a connection", lambda: "there" in p.output())
    world.service.process.kill()
    world.service.wait(20)
    p.process.stdin.write(b"\n")
    p.process.stdin.flush()
    world.until("both go on", lambda: "child" in p.output() and "parent" in p.output(), seconds=20)
    for who in ("child", "parent"):
        check(f"{who} ECONNRESET EAGAIN EAGAIN []" in p.output(), p.output() + p.errors())
    world.serve()
    seen, heard = set(), set()

    def both():
        with contextlib.suppress(OSError):
            together(8, lambda i: seen.add(who_accepts()))
            heard.add(who_answers())
        return {b"child", b"parent"} <= seen and heard
    world.until("both serve", both)
    well(p)
    p.end()


@case
def a_child_forked_without_a_service_is_served_by_the_next():
    outlived_without_a_service("once")


@case
def a_child_of_such_a_child_is_too():
    outlived_without_a_service("again")


SUCCESSOR = """import errno, socket, sys, threading
print("executed", flush=True)
l, u, c = (socket.socket(fileno=int(fd)) for fd in sys.argv[1:4])
try:
    got = c.recv(10)
except OSError as e:
    got = errno.errorcode[e.errno]
l.setblocking(False)
try:
    l.accept()
except BlockingIOError:
    got += " EAGAIN"
l.setblocking(True)
print("there again", got, u.getsockname()[1], flush=True)

def answer():
    while True:
        u.sendto(b"executed", u.recvfrom(100)[1])

threading.Thread(target=answer, daemon=True).start()
while True:
    s, _ = l.accept()
    s.sendall(b"executed")
    s.close()
"""
PREDECESSOR = """import os, socket, subprocess, sys
l = socket.create_server(("%s", 7))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("%s", 8))
print("ready", flush=True)
c, _ = l.accept()
print("there", flush=True)
sys.stdin.readline()
for s in (l, u, c):
    s.set_inheritable(True)
argv = [sys.executable, "-c", sys.argv[2], *(str(s.fileno()) for s in (l, u, c))]
if sys.argv[1] == "spawn":
    subprocess.Popen(argv, close_fds=False)
elif sys.argv[1] == "exec" or os.fork() == 0:
    os.execv(argv[0], argv)
while True:
    s, _ = l.accept()
    s.sendall(b"parent")
    s.close()
"""


def executed_without_a_service(how, *others):
    """It finds the next service by itself, with the sockets that exec left open."""
    if world.kernel:
        return
    p = App(world.PYTHON, "-c", PREDECESSOR % (ZS4, ZS4), how, SUCCESSOR, ready="ready", stdin=subprocess.PIPE)
    with contextlib.closing(connect(ZS4)):
        p.await_line("there")
    world.service.process.kill()
    world.service.wait(20)
    p.process.stdin.write(b"\n")
    p.process.stdin.flush()
    p.await_line("executed")
    world.serve()
    p.await_line("there again ECONNRESET EAGAIN 8")
    seen, all_of_them = set(), {b"executed", *others}

    def served():
        with contextlib.suppress(OSError):
            together(8, lambda i: seen.add(who_accepts()))
            seen.add(b"udp " + who_answers())
        return seen == all_of_them | {b"udp executed"}
    world.until(f"all serve, not just {seen}", served)
    world.replace_service()
    seen.clear()
    world.until(f"all serve at the next, not just {seen}", served)
    well(p)
    p.end()


@case
def a_program_executed_without_a_service_is_served_by_the_next():
    executed_without_a_service("exec")


@case
def so_is_one_that_an_orphan_executes():
    executed_without_a_service("fork", b"parent")


@case
def so_is_one_that_is_spawned():
    executed_without_a_service("spawn", b"parent")


DROPPER = """import os, socket, sys
l = socket.create_server(("%s", 80))
l.set_inheritable(True)
os.setgid(33)
os.setuid(33)
if sys.argv[1] == "exec" or os.fork() == 0:
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[2], str(l.fileno()), "again"])
l.close()
os.wait()
"""
DROPPED = """import os, socket, sys
l = socket.socket(fileno=int(sys.argv[1]))
l.set_inheritable(True)
if sys.argv[2] == "again":
    os.execv(sys.executable, [sys.executable, "-c", sys.orig_argv[2], str(l.fileno()), "no more"])
print("ready", os.getuid(), flush=True)
while True:
    s, _ = l.accept()
    s.sendall(b"it")
    s.close()
"""


def at_80():
    with contextlib.suppress(OSError), contextlib.closing(connect(ZS4, 80)) as s:
        return recv_all(s) == b"it"
    return False


def root_for(how):
    """What root bound it has at the next service, although its user may not bind it; nor attach, to the one after."""
    if world.kernel:
        return
    with App(world.PYTHON, "-c", DROPPER % ZS4, how, DROPPED, ready="ready 33", ok=(-15,)) as p:
        check(at_80(), "it does not serve")
        world.replace_service()
        world.until("it serves at the next service", at_80)
        for domains in (("--allow", "root"), ("--allow", "*")):
            world.domains = domains
            world.replace_service()
            world.until("it serves", at_80)
        well(p)


@case
def who_dropped_root_and_executes_a_program_keeps_the_port():
    root_for("exec")


@case
def who_dropped_root_and_starts_a_program_keeps_the_port():
    root_for("fork")


CLOSER = """import os, socket, sys
l = socket.create_server(("%s", 80))
d = socket.create_server(("%s", 7))
d.set_inheritable(True)
os.setgid(33)
os.setuid(33)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], str(d.fileno())])
"""
CLOSED = """import errno, socket, sys, time
def said():
    try:
        socket.socket().bind(("%s", 80))
        return "bound"
    except OSError as e:
        return "said " + errno.errorcode[e.errno]

d = socket.socket(fileno=int(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    while said() == "said ENETDOWN": # not at the next service yet
        time.sleep(0.1)
    print(said(), flush=True)
"""


@case
def the_right_to_a_port_ends_with_its_socket():
    """H37: exec closes it, and what root was allowed goes with it."""
    if world.kernel:
        return
    with App(world.PYTHON, "-c", CLOSER % (ZS4, ZS4), CLOSED % ZS4, ready="ready", stdin=subprocess.PIPE, ok=(-15,)) as p:
        for n in (1, 2):
            p.process.stdin.write(b"\n")
            p.process.stdin.flush()
            world.until("it says something", lambda n=n: p.output().count("said") + p.output().count("bound") == n)
            check(p.output().count("said EACCES") == n, p.output() + p.errors())
            world.replace_service()


STARTER = """import subprocess, sys
print("ready", flush=True)
for line in sys.stdin:
    subprocess.run([sys.executable, "-c", sys.argv[1]])
"""
STARTED = """import errno, socket
def said(f, *args):
    try:
        f(*args)
        return "yes"
    except OSError as e:
        return errno.errorcode[e.errno]

theirs = ("10.6.0.1", 9009)
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
print("answers", said(l.bind, theirs), said(l.listen), said(socket.socket().connect, theirs),
      said(socket.socket().bind, ("%s", 7)), said(socket.socket().connect, ("10.7.0.77", 7)),
      said(socket.socket().bind, ("", 7)), flush=True)
"""


@case
def a_program_started_without_a_service_knows_what_is_the_kernels():
    """What the stack's addresses were is in its environment, also of a user who may ask for nothing else."""
    if world.kernel:
        return
    world.net.far_sh("ip link set lo up; ip addr replace 10.6.0.1/32 dev lo")
    starters = [App(world.PYTHON, "-c", STARTER, STARTED % ZS4, ready="ready", stdin=subprocess.PIPE, user=user)
                for user in (None, "www-data")]
    world.service.process.kill()
    world.service.wait(20)
    for p in starters:
        p.process.stdin.write(b"\n")
        p.process.stdin.flush()
        world.until("it answers", lambda p=p: "answers" in p.output())
        check("answers yes yes yes ENETDOWN ENETDOWN ENETDOWN" in p.output(), p.output() + p.errors())
        p.end()
    world.serve()


JAIL = """import os, socket, sys
l = socket.create_server(("%s", 7))
l.settimeout(None)
os.chroot(sys.argv[1])
os.chdir("/")
print("ready", flush=True)
while True:
    s, _ = l.accept()
    s.sendall(b"jail")
    s.close()
"""
SQUATTER = """import socket, sys
l = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
l.bind("\\0" + sys.argv[1])
l.listen(100)
print("waits", flush=True)
while True:
    s, _ = l.accept()
    try:
        print("heard", len(s.recv(1000)), flush=True)
    except OSError as e:
        print("heard", e, flush=True)
    s.close()
"""


def jailed():
    with contextlib.suppress(OSError):
        return who_accepts() == b"jail"
    return False


def in_a_jail():
    os.makedirs(path("empty"), exist_ok=True)
    return App(world.PYTHON, "-c", JAIL % ZS4, path("empty"), ready="ready", ok=(0, -15))


@case
def a_program_in_a_chroot_finds_the_next_service():
    """Its path is nowhere for it; the service has the same name in the abstract namespace (H38)."""
    with in_a_jail() as p:
        check(jailed(), "it does not serve")
        for _ in range(2):
            world.replace_service()
            world.until("it serves again", jailed)
        well(p)


LATE = JAIL.replace(*JAIL.splitlines(True)[1:2], "").replace("l.settimeout(None)", "") \
    .replace('os.chdir("/")', 'os.chdir("/")\nl = socket.create_server(("%s", 7))').replace("os.chroot", "%s")


@case
def a_program_that_needs_the_service_first_in_a_chroot_has_it():
    os.makedirs(path("empty"), exist_ok=True)
    for how in ("os.chroot", "ctypes.CDLL(None).chroot", "(lambda p: ctypes.CDLL(None).syscall(161, p.encode()))"):
        with App(world.PYTHON, "-c", "import ctypes\n" + LATE % (how, ZS4), path("empty"), ready="ready", ok=(0, -15)) as p:
            check(jailed(), f"{how}: it does not serve")
            world.is_taken(7)
            world.replace_service()
            world.until("it serves again", jailed)
            well(p)


@case
def a_chroot_without_a_service_is_silent():
    if world.kernel:
        return
    with App(world.PYTHON, "-c", "import os, sys\nprint('ready', flush=True)\nsys.stdin.readline()\nos.chroot('/tmp')\nprint('there', flush=True)",
             ready="ready", stdin=subprocess.PIPE) as p:
        world.service.process.kill()
        world.service.wait(20)
        p.process.stdin.write(b"\n")
        p.process.stdin.flush()
        p.await_line("there")
        well(p)
        world.serve()


@case
def who_takes_the_services_name_is_told_nothing():
    """Another user has it while there is no service: the program turns away from him, and the service says who it is."""
    if world.kernel:
        return
    with in_a_jail() as p:
        check(jailed(), "it does not serve")
        world.service.process.kill()
        world.service.wait(20)
        thief = App(world.PYTHON, "-c", SQUATTER, world.socket_path, ready="waits", line=["env"], user="www-data")
        thief.await_line("heard")
        world.serve()
        check(f"process {thief.process.pid} of user 33 has taken the name @{world.socket_path}" in world.service.errors(),
              world.service.errors())
        check(not jailed(), "it serves, and can't have found the service")
        check_told(thief)
        thief.end()
        world.replace_service()
        world.until("it serves again", jailed)
        well(p)


def check_told(thief):
    heard = thief.output().splitlines()[1:]
    check(heard and all(line == "heard 0" or "Errno 104" in line for line in heard), f"{heard[:5]}")


TALK = """import socket
s = socket.create_connection(("%s", 7))
print("there", flush=True)
n = 0
while True:
    s.sendall(b"x" * 1000)
    got = 0
    while got < 1000:
        data = s.recv(1000 - got)
        assert data == b"x" * len(data) and data
        got += len(data)
"""


def linked():
    out = world.sh(f"{world.tool} --socket {world.socket_path} ss")
    return world.kernel or "link  ESTABLISHED" in out


@case
def a_child_that_first_uses_its_stream_late_has_a_link():
    """Its parent had let go of it long before."""
    with process("late", path("go-late")) as p, App(world.PYTHON, "-c", TALK % ZS4, ready="there", ok=(-15,)):
        world.until("the child has the connection alone", lambda: len(children(p)) == 1)
        put("go-late", "")
        world.until("the stream has a link", linked)
        well(p)


@case
def exec_closes_what_is_close_on_exec():
    with process("closes") as p:
        first, other = connect(ZS4), connect(ZS4)
        check(other.recv(1) == b"", "a close-on-exec connection is open after exec")
        check_echo(first, pattern(100000))
        well(p)


@case
def flags_and_numbers_survive():
    with process("nonblock") as p:
        s = connect(ZS4)
        check(recv_all(s, 5) == b"ready", "no answer")
        check_echo(s, pattern(100000))
        echoes(1)
        well(p)


@case
def connections_are_passed_on_in_many_messages():
    with process("many") as p:
        for i in range(3):
            check_echo(connect(ZS4), pattern(100000, i))
        well(p)


@case
def a_connection_is_passed_on():
    """The sender closes it; a part may have been there before."""
    with process("pass") as p:
        first = connect(ZS4)
        first.sendall(pattern(5000))
        first.shutdown(socket.SHUT_WR)
        check(recv_all(first) == pattern(5000), "what was there before differs")
        for i in range(6):
            check_echo(connect(ZS4), pattern(200000, i))
        well(p)


@case
def a_listener_is_passed_on():
    with process("listener") as p:
        world.is_taken(7)
        for i in range(4):
            check_echo(connect(ZS4), pattern(100000, i))
        well(p)


@case
def what_is_lost_on_its_way_is_closed():
    with process("lost") as p:
        for _ in range(5):
            check(connect(ZS4).recv(1) == b"", "it is not closed")
        well(p)


@case
def system_calls_by_number():
    with process("numbers") as p:
        echoes()
        well(p)
        check(world.kernel or "no io_uring" in p.output(), p.output())


world.finish(60)
