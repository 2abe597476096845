#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a program may say to zstackd, and when: each message in each state of its session, over a control connection
that is played here (src/chan/attach.h). What is not allowed costs the program its session and nobody else anything."""
import array
import contextlib
import errno
import mmap
import os
import socket
import struct
import subprocess

import peer
import service
from peer import Net, case, check
from service import Service, Watcher, watched

peer.start()
service.install()
net = Net("af_packet")

MAGIC, VERSION = 0x415a4b53, 6
TYPES = ("HELLO WELCOME REFUSED MAPPED READY GRANT GRANTED BYE FORK ADMIN ANSWER RESUME PASS PASSED REDEEM REDEEMED "
         "LINK LINKED LINK_END LINK_BAD REGION REGION_IS DROP LINK_FREE ENDS ENDS_ARE").split()
NUMBER = {name: i + 1 for i, name in enumerate(TYPES)}
NUMBER |= {"type 0": 0, "type 27": 27, "type 65535": 65535}
HELLO = struct.pack("=IIIIQ64s", 0, 0, 0, 0, 1 << 20, b"played")
BODY = {
    "HELLO": HELLO, "GRANT": struct.pack("=IHBB16s", 7, 8080, 0, 0, bytes(16)), "ADMIN": b'{"ask": "apps"}',
    "PASS": struct.pack("=Ii16III256s", 7, 0, *[0] * 16, 0, 0, b""),
    "REDEEM": struct.pack("=Ii16III256s", 7, 0, *[0] * 16, 0, 0, b""),
    "LINKED": struct.pack("=Ii", 7, 0), "LINK_BAD": struct.pack("=Ii", 7, 0),
    "LINK_FREE": struct.pack("=Ii", 7, 0), "REGION": struct.pack("=IIQ", 7, 0, 0),
    "ENDS": struct.pack("=IiII8Q", 7, 0, 3, 0, *[0] * 8),
    "DROP": struct.pack("=16IQ", *[7] * 16, 0),
}
# What comes back; None: nothing, and the session goes on; "end": its end, which was asked for.
MAY = {
    "new": {"HELLO": "WELCOME", "ADMIN": "ANSWER", "RESUME": "end", "BYE": "end"},
    "mapping": {"MAPPED": "READY", "BYE": "end"},
    "forked": {"MAPPED": "READY", "DROP": None, "BYE": "end"},
    "ready": {"GRANT": "GRANTED", "FORK": "WELCOME", "PASS": "PASSED", "REDEEM": "REDEEMED", "ENDS": "ENDS_ARE",
              "LINKED": None, "LINK_BAD": None, "LINK_FREE": None, "REGION": "REGION_IS", "BYE": "end"},
}


class Session:
    """A control connection."""

    def __init__(self, s, sock=None):
        self.fds, self.maps, self.welcome = [], [], 0
        self.sock = sock or socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(10)
        if sock is None:
            self.sock.connect(s.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for m in self.maps:
            m.close()
        self.sock.close()
        for fd in self.fds:
            os.close(fd)

    def say(self, name, body=None, fds=()):
        head = struct.pack("=IHH", MAGIC, VERSION, NUMBER[name])
        # What none of ours sends has the length of the longest, so that its type alone is what is wrong.
        data = head + (BODY.get(name, bytes(400)) if body is None else body)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendmsg([data], rights)

    def hear(self):
        """The type of the next message; "end"."""
        try:
            data, rights, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(300))
        except ConnectionResetError:
            return "end"
        self.welcome = len(self.fds)
        for level, kind, raw in rights:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self.fds += array.array("i", raw[:len(raw) // 4 * 4])
        return TYPES[struct.unpack("=IHH", data[:8])[2] - 1] if data else "end"

    def map(self):
        """The rings of the last WELCOME."""
        self.maps.append(mmap.mmap(self.fds[self.welcome + 1], 4096))

    def ask(self, name, answer):
        self.say(name)
        got = self.hear()
        check(got == answer, f"{name} brought {got}, not {answer}")


@contextlib.contextmanager
def session(s, state):
    """One that is in that state."""
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(Session(s))
        if state != "new":
            one.ask("HELLO", "WELCOME")
        if state in ("ready", "forked"):
            one.ask("MAPPED", "READY")
        if state == "forked":
            one.ask("FORK", "WELCOME")
            one = stack.enter_context(Session(s, socket.socket(fileno=one.fds.pop())))
        yield one


def goes_on(one):
    """An attached session answers."""
    one.ask("GRANT", "GRANTED")


@case
def each_message_in_each_state():
    """H32: what may be said is answered; all else ends the session, and is not answered."""
    with watched(net) as (s, w):
        start, files = w.levels(), s.descriptors()
        for state, may in MAY.items():
            for name in NUMBER:
                with session(s, state) as one:
                    want = may.get(name, "end")
                    one.say(name)
                    if want is not None:
                        got = one.hear()
                        check(got == want, f"{name} in state {state} brought {got}, not {want}")
                    if want is None and state == "forked":
                        one.ask("MAPPED", "READY")
                    if want is None or (state == "ready" and want != "end"):
                        goes_on(one)
                    if want == "end":
                        check(one.hear() == "end", f"{name} in state {state}: it goes on")
            w.await_levels(start)
        service.until("the descriptors are back", lambda: s.descriptors() <= files + KEEPER)


KEEPER = 6  # its rings, arena and bells: it stays once it was needed


def old_kernel(number):
    """zstackd on a kernel that tells it numbers of processes only, which are those in that file, if it is there."""
    return watched(net, prefix=("env", f"LD_PRELOAD={os.path.join(peer.build, 'test/interop/libold_kernel.so')}",
                                f"ZS_REUSED={number}"))


@case
def a_number_that_is_another_process_by_now():
    """Before Linux 6.5 (SO_PEERPIDFD, SO_PASSPIDFD): who is watched must be who has mapped the memory."""
    number = os.path.join(service.folder, "number")
    with old_kernel(number) as (s, w), subprocess.Popen(["sleep", "1000"]) as other, contextlib.ExitStack() as last:
        last.callback(other.kill)
        start = w.levels()
        for reused in (False, True):
            for child in (False, True):
                # The service asks for the number as soon as somebody is there.
                if reused and not child:
                    write(number, str(other.pid))
                with Session(s) as one:
                    one.ask("HELLO", "WELCOME")
                    one.map()
                    if child:
                        one.ask("MAPPED", "READY")
                        one.ask("FORK", "WELCOME")
                        one.map()
                        if reused:
                            write(number, str(other.pid))
                        with Session(s, socket.socket(fileno=one.fds.pop())) as forked:
                            forked.ask("MAPPED", "end" if reused else "READY")
                    else:
                        one.ask("MAPPED", "end" if reused else "READY")
                if reused:
                    os.unlink(number)
        w.await_levels(start)


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


STRANGER = 4712


def voucher(purpose):
    """As src/chan/voucher.c makes it, of the user that we are."""
    v = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    v.bind(f"\0zstack-voucher/{purpose}/{os.getpid():08x}{id(v):016x}")
    v.listen(0)
    return v


def port_voucher(port, proto="tcp"):
    return voucher(f"bind/{proto}/{port}/{'0' * 32}")


def attaches(s, *fds):
    """What HELLO with these descriptors, the last a voucher, brings."""
    with Session(s) as one:
        one.say("HELLO", struct.pack("=IIIIQ64s", 0, 0, 0, 2, 1 << 20, b"vouched for"), fds)
        return one.hear()


def granted(one, port, *fds):
    """What the answer to GRANT says."""
    one.say("GRANT", struct.pack("=IHBB16s", 7, port, 0, 0, bytes(16)), fds)
    data = one.sock.recv(4096)
    return struct.unpack_from("=Ii", data, 8)[1]


def stranger(s, roots):
    """In a process of a user whom the service does not know, with what root left it."""
    mine = {"attach": voucher("attach"), "80": port_voucher(80)}
    with Session(s) as one:
        one.ask("HELLO", "REFUSED")
    for what, fds in (("no voucher", ()), ("its own", [mine["attach"]]), ("one for a port", [roots["80"]]),
                      ("a pair's end", [socket.socketpair()[0]])):
        check(attaches(s, *[f.fileno() for f in fds]) == "REFUSED", f"a stranger with {what} may attach")
    with Session(s) as one:
        one.say("HELLO", struct.pack("=IIIIQ64s", 0, 0, 0, 2, 1 << 20, b"vouched for"), [roots["attach"].fileno()])
        check(one.hear() == "WELCOME", "root's voucher is not believed")
        one.ask("MAPPED", "READY")
        for what, fds, want in (("no voucher", (), -errno.EACCES), ("its own", [mine["80"]], -errno.EACCES),
                                ("that for 81", [roots["81"]], -errno.EACCES),
                                ("that for UDP", [roots["udp"]], -errno.EACCES),
                                ("that for attaching", [roots["attach"]], -errno.EACCES), ("root's", [roots["80"]], 0)):
            got = granted(one, 80, *[f.fileno() for f in fds])
            check(got == want, f"port 80 with {what}: {got}, not {want}")


@case
def a_voucher_is_worth_what_its_maker_may_do_of_that_one_thing():
    with watched(net) as (s, w):
        start, files = w.levels(), s.descriptors()
        roots = {"attach": voucher("attach"), "80": port_voucher(80), "81": port_voucher(81),
                 "udp": port_voucher(80, "udp")}
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setresuid(STRANGER, STRANGER, STRANGER)
            try:
                stranger(s, roots)
            except BaseException as e:  # pylint: disable=broad-except
                print(f"    {e}", flush=True)
                os._exit(1)
            os._exit(0)
        check(os.waitpid(child, 0)[1] == 0, "a stranger got too much, or too little")
        for v in roots.values():
            v.close()
        w.await_levels(start)
        service.until("the descriptors are back", lambda: s.descriptors() <= files + KEEPER)


@case
def what_is_too_short_ends_the_session():
    """H02's like: each message cut at each length that is not enough."""
    with watched(net) as (s, w):
        start = w.levels()
        for state, may in MAY.items():
            for name in may:
                full = 8 + len(BODY.get(name, b""))
                for n in sorted({1, 7, 8, full - 1} if name != "ADMIN" else {1, 7}):
                    if n >= full:
                        continue
                    with session(s, state) as one:
                        one.sock.send((struct.pack("=IHH", MAGIC, VERSION, NUMBER[name]) + BODY.get(name, b""))[:n])
                        got = one.hear()
                        check(got == "end", f"{name} of {n} bytes in state {state} brought {got}")
        w.await_levels(start)


@case
def descriptors_that_nobody_wants_are_closed():
    """H37: each message with more of them than it may have, in each state."""
    with watched(net) as (s, w):
        start, files = w.levels(), s.descriptors()
        with open("/dev/null", "rb") as f:
            for state in MAY:
                for name in NUMBER:
                    with session(s, state) as one:
                        one.say(name, fds=[f.fileno()] * 60)
                        one.sock.settimeout(0.5)
                        with contextlib.suppress(TimeoutError):
                            one.hear()
        w.await_levels(start)
        service.until("the descriptors are back", lambda: s.descriptors() <= files + KEEPER)


peer.run(300)
