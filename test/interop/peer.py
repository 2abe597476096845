# SPDX-License-Identifier: BSD-3-Clause
"""A Linux peer for Z-Stack programs: this process moves into a network namespace of its own, and is the
peer; the program under test runs in another, joined to it by a veth (or shares this one, with a tap).

    ┌ this process, 10.7.0.1, fd07::1 ┐  veth  ┌ program under test, 10.7.0.2, fd07::2 ┐
    │ sockets, ping, curl, wrk        ├────────┤ af_packet or af_xdp                    │
    └─────────────────────────────────┘        └────────────────────────────────────────┘

Both namespaces are anonymous: they exist as long as a process or a descriptor here refers to them, so
nothing is left behind, however this process ends. Results are TAP.
"""
import contextlib
import ctypes
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
PR_SET_PDEATHSIG = 1
LINUX4, ZS4, LINUX6, ZS6 = "10.7.0.1", "10.7.0.2", "fd07::1", "fd07::2"
ADDRS = [f"{ZS4}/24", f"{ZS6}/64"]

libc = ctypes.CDLL(None, use_errno=True)
build = os.environ.get("ZS_BUILD", "build-gcc")


class Skip(Exception):
    """A feature of the kernel or a permission is missing."""


class Failed(Exception):
    """What was expected did not happen."""


def check(truth, what):
    if not truth:
        raise Failed(what)


def sh(command, ok=True, timeout=60):
    """Runs a shell command in this namespace; its output. Failed unless it succeeds or ok is False."""
    p = subprocess.run(command, shell=True, text=True, timeout=timeout, errors="replace",
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    check(p.returncode == 0 or not ok, f"{command}: exit {p.returncode}: {p.stdout[-600:]}")
    return p.stdout


def enter_namespace():
    """Moves this process into fresh network and mount namespaces."""
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        raise Skip(f"no network namespaces: {os.strerror(ctypes.get_errno())}; run as root")
    sh("mount --make-rprivate / && mount -t sysfs sysfs /sys && ip link set lo up")


def new_namespace():
    """A descriptor of a fresh network namespace."""
    ready, made = os.pipe()
    release, done = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(made, b"x" if libc.unshare(CLONE_NEWNET) == 0 else b"-")
        os.read(release, 1)
        os._exit(0)
    check(os.read(ready, 1) == b"x", "unshare failed")
    fd = os.open(f"/proc/{child}/ns/net", os.O_RDONLY)
    os.write(done, b"x")
    os.waitpid(child, 0)
    for p in (ready, made, release, done):
        os.close(p)
    return fd


class Net:
    """The link between this namespace (device `dev`) and the program under test. Its interfaces keep their
    offloads, as they are made with, unless the frames themselves are what a test is about."""

    def __init__(self, link="af_packet", mtu=1500, offloads=True):
        self.link, self.dev, self.mtu = link, "linux0", mtu
        if link == "tap":
            self.far = os.open("/proc/self/ns/net", os.O_RDONLY)
            return
        self.far = new_namespace()
        sh(f"ip link add {self.dev} mtu {mtu} type veth peer name zs0 mtu {mtu}"
           f" && ip link set zs0 netns /proc/{os.getpid()}/fd/{self.far}")
        self.far_sh("ip link set lo up; sysctl -qw net.ipv6.conf.zs0.disable_ipv6=1; ip link set zs0 up")
        if not offloads or link == "af_xdp":  # which has no word for "no checksum, and none needed"
            sh(f"ethtool -K {self.dev} tx off tso off gso off gro off")
            self.far_sh("ethtool -K zs0 tx off tso off gso off gro off")
        self.configure()

    def configure(self, addrs=(f"{LINUX4}/24", f"{LINUX6}/64")):
        sh(f"ip link set {self.dev} up")
        for a in addrs:
            sh(f"ip addr add {a} dev {self.dev} {'nodad' if ':' in a else ''}")

    def beside(self):
        """The same link for one more program, which has other addresses."""
        other = object.__new__(Net)
        other.link, other.dev, other.mtu, other.far = self.link, self.dev, self.mtu, self.far
        return other

    def far_sh(self, command):
        p = subprocess.run(command, shell=True, text=True, preexec_fn=self.go_far, timeout=60,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        check(p.returncode == 0, f"{command}: exit {p.returncode}: {p.stdout}")
        return p.stdout

    def go_far(self):
        libc.setns(self.far, CLONE_NEWNET)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def vdev(self):
        if self.link == "tap":
            return f"net_tap0,iface={self.dev}"
        return f"net_{self.link}0,iface=zs0"

    def close(self):
        if self.link != "tap":
            sh(f"ip link del {self.dev}", ok=False)
        os.close(self.far)


class Program:
    """A program under test, in the far namespace."""

    def __init__(self, net, name, *args, addrs=ADDRS, ready=r"listening|serving", stdin=None, vdev=None,
                 prefix=(), env=None):
        common = [x for a in addrs for x in ("--addr", a)]
        self.net = net
        self.launch(name, [*prefix, os.path.join(build, "examples", name), "--vdev", vdev or net.vdev(), "--no-huge",
                           *common, *args], ready, preexec_fn=net.go_far, stdin=stdin, env=env)
        if net.link == "tap" and ready:
            net.configure()
            sh(f"ethtool -K {net.dev} gro off", ok=False)

    def launch(self, name, argv, ready, stdin=None, **how):
        self.name, self.argv = name, argv
        self.log = tempfile.TemporaryFile("w+b")
        self.err = tempfile.TemporaryFile("w+b")
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.err,
                                        stdin=stdin or subprocess.DEVNULL, **how)
        if ready:
            self.await_line(ready)

    @staticmethod
    def text(f):
        with contextlib.suppress(OSError):
            return os.pread(f.fileno(), 1 << 20, 0).decode(errors="replace")
        return ""

    def output(self):
        return self.text(self.log)

    def errors(self):
        return self.text(self.err)

    def await_line(self, pattern, seconds=20):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.output() + self.errors()):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise Failed(f"{' '.join(self.argv)}: exit {self.process.wait()} without '{pattern}': "
                             f"{self.output()}{self.errors()}")
            time.sleep(0.02)

    def alive(self):
        return self.process.poll() is None

    def stop(self, how=signal.SIGTERM, seconds=20):
        """Ends the program; its exit code."""
        if self.alive():
            self.process.send_signal(how)
        return self.wait(seconds)

    def wait(self, seconds=60):
        try:
            rc = self.process.wait(seconds)
            check("runtime error: " not in self.errors(), self.errors())  # UBSan
            return rc
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"{self.name} did not end within {seconds} s: {self.errors()[-800:]}") from None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(f"# {self.name} said: " + (self.output()[-1500:] + self.errors()[-3000:])
                  .replace("\n", "\n#   "))
        if not self.alive():
            check(kind is not None or self.process.returncode == 0,
                  f"{self.name} ended with {self.process.returncode}: {self.errors()[-3000:]}")
            return
        rc = self.stop()
        check(kind is not None or rc == 0, f"{self.name} ended with {rc}: {self.errors()[-3000:]}")

    def counter(self, name):
        """The value of a counter in what the program printed at its end."""
        m = re.search(rf"\b{re.escape(name)}\b[^0-9\n]*([0-9]+)", self.output() + self.errors())
        check(m, f"{self.name} printed no counter {name}: {self.output()[-1500:]}")
        return int(m.group(1))


class Attached(Program):
    """A program attached to a service, in the same namespace; its children end with it."""

    def __init__(self, net, service, *argv, ready=None):
        self.net = net
        env = {**os.environ, "ZSTACK_SOCKET": service.path} if service else None
        self.launch(os.path.basename(argv[0]), list(argv), ready, preexec_fn=net.go_far, start_new_session=True,
                    env=env)

    def end(self):
        """Kills it with all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Service(Program):
    """zstackd on the far end of the link, ready."""

    def __init__(self, net, path, *args, addrs=ADDRS, ready=r"zstackd: ready at", prefix=(), vdev=None):
        self.net, self.path = net, path
        self.launch("zstackd", [*prefix, os.path.join(build, "src/svc/zstackd"), "--vdev", vdev or net.vdev(),
                                "--no-huge", "--socket", path, *[x for a in addrs for x in ("--addr", a)], *args],
                    ready, preexec_fn=net.go_far)


# ---- the peer's side of a transfer ----

def pattern(n, seed=1):
    """n reproducible bytes in which no two kilobytes are alike."""
    return random.Random(seed).randbytes(n)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def connect(addr=ZS4, port=7, timeout=10, **sockopts):
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM)
    for name, value in sockopts.items():
        level = socket.IPPROTO_TCP if name.startswith("TCP_") else socket.SOL_SOCKET
        s.setsockopt(level, getattr(socket, name), value)
    s.settimeout(timeout)
    s.connect((addr, port))
    return s


def recv_all(s, limit=None):
    """Reads to the end of the stream, or limit bytes."""
    parts, got = [], 0
    while limit is None or got < limit:
        data = s.recv(262144 if limit is None else min(262144, limit - got))
        if not data:
            break
        parts.append(data)
        got += len(data)
    return b"".join(parts)


def echo(s, data, half_close=True):
    """Sends data from one thread and reads in this one what comes back."""
    def feed():
        with contextlib.suppress(OSError):
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
    t = threading.Thread(target=feed, daemon=True)
    t.start()
    back = recv_all(s, None if half_close else len(data))
    t.join(10)
    return back


def check_echo(s, data):
    back = echo(s, data)
    check(len(back) == len(data), f"{len(back)} of {len(data)} bytes came back")
    check(digest(back) == digest(data), "the bytes that came back differ")
    s.close()


def cpu_seconds(*pids):
    """What these processes have had of the CPUs, in s."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            ticks += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def listen(addr=LINUX4, port=0):
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    s = socket.create_server((addr, port), family=family, backlog=1024)
    s.settimeout(20)
    return s


def serve_once(sock, work):
    """Accepts one connection in a thread and gives it to work; its result is in the list returned."""
    result = []

    def accept():
        with contextlib.suppress(OSError):
            s, _ = sock.accept()
            s.settimeout(30)
            result.append(work(s))
            s.close()
    t = threading.Thread(target=accept, daemon=True)
    t.start()
    return t, result


# ---- TAP ----

cases = []


def case(f):
    """Marks a function as a test case; they run in the order of the file."""
    cases.append(f)
    return f


def alarm(signum, frame):
    raise Failed("took too long")


def run(limit=60):
    """Runs the cases; a case gets limit seconds."""
    print(f"1..{len(cases)}")
    bad = 0
    signal.signal(signal.SIGALRM, alarm)
    for n, f in enumerate(cases, 1):
        name, begin = f.__name__, time.monotonic()
        signal.alarm(limit)
        try:
            f()
            print(f"ok {n} - {name} # {time.monotonic() - begin:.1f} s")
        except Skip as reason:
            print(f"ok {n} - {name} # SKIP {reason}")
        except Exception as e:
            bad += 1
            if not isinstance(e, Failed):
                print("# " + traceback.format_exc().strip().replace("\n", "\n# "))
            print(f"not ok {n} - {name}\n# {str(e)}".rstrip().replace("\n", "\n# "))
        finally:
            signal.alarm(0)
        sys.stdout.flush()
    sys.exit(bad != 0)


def start():
    """To be called first: enters the namespace, or skips the whole file with a reason."""
    sys.stdout.reconfigure(line_buffering=True)
    try:
        if os.geteuid() != 0:
            raise Skip("needs root for namespaces")
        for tool in ("ip", "ethtool", "ping"):
            if shutil.which(tool) is None:
                raise Skip(f"{tool} is not installed (devtools/packages.txt)")
        enter_namespace()
    except Skip as reason:
        print(f"1..0 # SKIP {reason}")
        sys.exit(0)
