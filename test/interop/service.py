# SPDX-License-Identifier: BSD-3-Clause
"""zstackd in the far namespace of peer.Net, and programs that attach to it. Programs run from copies in a folder
that every user may read, since a build folder may be root's alone.

    ┌ this process: Linux's side ┐  veth  ┌ zstackd ┐ UNIX socket, memfds ┌ programs, of any user ┐
"""
import atexit
import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import peer
from peer import Failed, build, check, connect

USER, OTHER, NOBODY = 61001, 61002, 65534
folder = tempfile.mkdtemp(prefix="zs")
os.chmod(folder, 0o755)
atexit.register(shutil.rmtree, folder, ignore_errors=True)
socket_path = os.path.join(folder, "zstackd.sock")


def install():
    """The programs and libzstack, for everybody."""
    for name in ("echo", "udp_echo", "http", "proxy", "client"):
        shutil.copy(os.path.join(build, "examples", name), folder)
    shutil.copy(os.path.join(build, "test", "interop", "app"), folder)
    shutil.copy(os.path.join(build, "src", "client", "libzstack.so.0"), folder)
    www = os.path.join(folder, "www")
    os.mkdir(www)
    with open(os.path.join(www, "index.html"), "w") as f:
        f.write("hello\n")


def as_user(uid):
    return ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")


class Service(peer.Service):
    """zstackd at the usual place of these tests."""

    def __init__(self, net, *args, path=None, **how):
        super().__init__(net, path or socket_path, *args, **how)

    def refused_to_start(self, seconds=20):
        """Its one sentence; it must have ended with an error."""
        rc = self.wait(seconds)
        check(rc == 1, f"zstackd ended with {rc}: {self.errors()}")
        return self.errors()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def environment(service):
    return {**os.environ, "ZSTACK_SOCKET": service.path, "LD_LIBRARY_PATH": folder}


class App(peer.Program):
    """A program attached to a service."""

    def __init__(self, service, name, *args, user=None, ready=r"listening|serving", stdin=None, **how):
        prefix = as_user(user) if user is not None else ()
        self.launch(name, [*prefix, os.path.join(folder, name), *map(str, args)], ready, stdin=stdin,
                    env=environment(service), **how)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __exit__(self, kind, value, trace):
        if self.process.returncode != -signal.SIGKILL:
            super().__exit__(kind, value, trace)


def refused(service, name, *args, user=None):
    """What a program says that must end with an error."""
    a = App(service, name, *args, user=user, ready=None)
    rc = a.wait(20)
    check(rc != 0, f"{name} of user {user} was not refused: {a.output()}{a.errors()}")
    return a.output() + a.errors()


def app(service, *actions, user=None):
    """The results of a list of actions of test/interop/app.c, one line each."""
    a = App(service, "app", *actions, user=user, ready=None)
    rc = a.wait(20)
    check(rc == 0, f"app {actions}: exit {rc}: {a.output()}{a.errors()}")
    return a.output().split("\n")[:-1]


class Watcher:
    """An HTTP server behind the service, whose /stats has the counters of the stack."""

    def __init__(self, service, port=8888):
        self.port = port
        self.app = App(service, "http", os.path.join(folder, "www"), port)

    def counters(self):
        s = connect(port=self.port)
        s.sendall(b"GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = peer.recv_all(s).decode()
        s.close()
        return {m[1]: int(m[2]) for m in re.finditer(r"^([a-z_0-9]+) ([0-9]+)", text, re.M)}

    def levels(self):
        """What must be as at the start when everybody else has left."""
        c = self.counters()
        return {k: c[k] for k in ("sock_applications", "sock_sockets", "sock_lent_buffers", "pool_rx_used",
                                  "pool_large_used", "pool_hdr_used", "pool_ref_used")}

    def await_levels(self, start, seconds=20):
        end = time.monotonic() + seconds
        while (now := self.levels()) != start:
            check(time.monotonic() < end, f"not as at the start, {start}: {now}")
            time.sleep(0.1)

    def close(self):
        check(self.app.stop() == 0, self.app.errors())


@contextlib.contextmanager
def watched(net, *args, **how):
    """A service and its watcher; at the end nothing may be left of either."""
    with Service(net, *args, **how) as s:
        w = Watcher(s)
        try:
            yield s, w
        except BaseException:
            w.app.kill()
            raise
        w.close()
    nothing_left(s)


def nothing_left(s):
    check(not s.alive(), "zstackd still runs")
    check(not os.path.exists(s.path), f"{s.path} is still there")
    mine = subprocess.run(["pgrep", "-g", "0", "zstackd"], stdout=subprocess.PIPE, text=True).stdout.split()
    check(str(s.process.pid) not in mine, "its process is there")


def until(what, truth, seconds=10):
    end = time.monotonic() + seconds
    while not truth():
        if time.monotonic() > end:
            raise Failed(f"did not happen within {seconds} s: {what}")
        time.sleep(0.05)
