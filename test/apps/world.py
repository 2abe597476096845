# SPDX-License-Identifier: BSD-3-Clause
"""Unmodified programs under `zstack run`, in the far namespace of peer.Net beside zstackd; this process is the Linux
peer. With the argument `kernel` the same programs run plain, on a kernel that has the same addresses: a test that
fails there tests nothing.

    ┌ this process: 10.7.0.1, fd07::1 ┐  veth  ┌ 10.7.0.2, fd07::2: zstackd ┐ ┌ zstack run -- nginx … ┐
"""
import atexit
import concurrent.futures
import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import peer  # noqa: E402
from peer import (LINUX4, LINUX6, ZS4, ZS6, Failed, Net, Skip, build, case, check, check_echo,  # noqa: E402,F401
                  connect, cpu_seconds, digest, pattern, recv_all, run, sh)

kernel = "kernel" in sys.argv[1:]
supervised = "supervised" in sys.argv[1:]  # as if no program could load the library
PYTHON = "/usr/bin/python3"  # Debian's
USER = "www-data"
folder = tempfile.mkdtemp(prefix="zsapps")
os.chmod(folder, 0o755)
if "keep" not in sys.argv:
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
socket_path = os.path.join(folder, "zstackd.sock")
tool = os.path.join(folder, "zstack")
net = service = None
domains = ("--allow", "*")  # who may attach; a test may say it otherwise before start()


def path(*names):
    return os.path.join(folder, *names)


def put(name, data, mode=0o644):
    """A file in the folder, which every user may read; its path."""
    where = path(name)
    os.makedirs(os.path.dirname(where), exist_ok=True)
    with open(where, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    os.chmod(where, mode)
    return where


def start(*programs, service_args=()):
    """Enters the namespaces and starts the service; skips the whole file if a program is not installed."""
    global net, service
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    for p in programs:
        if shutil.which(p) is None:
            print(f"1..0 # SKIP {p} is not installed (devtools/packages.txt)")
            sys.exit(0)
    peer.start()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    net = Net()
    if kernel:
        net.far_sh(f"sysctl -qw net.ipv6.conf.zs0.disable_ipv6=0; ip addr add {ZS4}/24 dev zs0;"
                   f"ip addr add {ZS6}/64 dev zs0 nodad")
        return
    for name in ("tools/zstack", "src/preload/libzstack-preload.so", "src/svc/libzstack-stack.so.0"):
        if os.path.exists(os.path.join(build, name)):
            shutil.copy(os.path.join(build, name), folder)
    serve(*service_args)


def serve(*args):
    global service
    service = peer.Service(net, socket_path, *domains, *args)
    atexit.register(service.process.kill)


def replace_service():
    """It is killed, and another one takes its place."""
    if not kernel:
        service.process.kill()
        service.wait(20)
        serve()


def finish(limit=60):
    """Runs the cases, or those that `only=NAME` says; zstackd must have survived them."""
    only = [a[5:] for a in sys.argv if a.startswith("only=")]
    peer.cases[:] = [c for c in peer.cases if not only or c.__name__ in only]
    if service:
        @case
        def zstackd_is_well():
            check(service.alive(), f"zstackd ended with {service.process.returncode}: {service.errors()[-2000:]}")
            check(service.stop() == 0, service.errors()[-2000:])
    run(limit)


def wrapped(argv, *options):
    """The command line that starts a program on Z-Stack (or plain, to try the test)."""
    how = ["--supervise"] if supervised else []
    return list(map(str, argv if kernel else [tool, "run", "--service", socket_path, *how, *options, "--", *argv]))


def as_user(user):
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []


def clean_environment(extra=None):
    """Sanitizers' and libraries' settings of the build are not the programs'."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "MALLOC_PERTURB_", "ASAN_OPTIONS")}
    return {**env, "LC_ALL": "C", "HOME": folder, **(extra or {})}


def go_far():
    os.setsid()
    net.go_far()


class Started(peer.Program):
    """A program with its children, in a session of its own. `ok`: exit statuses that are right at its end."""

    def begin(self, argv, ready, ok, env, cwd, **how):
        self.ok = ok
        self.launch(os.path.basename(str(argv[0])), list(map(str, how.pop("line", argv))), ready,
                    env=clean_environment(env), cwd=cwd or folder, **how)
        atexit.register(self.end)

    def end(self):
        """Kills it with all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, how=signal.SIGTERM, seconds=20):
        rc = super().stop(how, seconds)
        return 0 if rc in self.ok else rc

    def __exit__(self, kind, value, trace):
        try:
            super().__exit__(kind, value, trace)
        finally:
            self.end()


class App(Started):
    """An unmodified program on the far side. `options` are those of zstack run, unless `line` is all that stands before
    the program; `user` runs it as that user."""

    def __init__(self, *argv, ready=None, options=(), line=None, user=None, env=None, stdin=None, ok=(0,), cwd=None):
        self.begin(argv, ready, ok, env, cwd, stdin=stdin, preexec_fn=go_far,
                   line=as_user(user) + (line + list(argv) if line else wrapped(argv, *options)))


class Near(Started):
    """A Linux program on this side, plain, for the far one to talk to."""

    def __init__(self, *argv, ready=None, env=None, ok=(0,), cwd=None):
        self.begin(argv, ready, ok, env, cwd, start_new_session=True)


def far(*argv, ok=True, timeout=60, options=(), env=None, stdin=None, user=None, background=False):
    """Runs a program to its end on the far side, on Z-Stack; what it wrote to standard output and error. What it leaves
    in its process group is ended, unless it is to stay in the background."""
    p = subprocess.Popen(as_user(user) + wrapped(argv, *options), stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, preexec_fn=go_far, env=clean_environment(env), cwd=folder)
    try:
        out = p.communicate(timeout=timeout)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        out = p.communicate()[0].decode(errors="replace")
        raise Failed(f"{' '.join(map(str, argv))}: still runs after {timeout} s: {out[-2000:]}") from None
    finally:
        if not background:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
    check(p.returncode == 0 or not ok, f"{' '.join(map(str, argv))}: exit {p.returncode}: {out[-2000:]}")
    return out


def near(*argv, ok=True, timeout=60):
    """Runs a program to its end on Linux's side; what it wrote to standard output and error."""
    p = subprocess.run(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       env=clean_environment(), timeout=timeout, cwd=folder, check=False)
    out = p.stdout.decode(errors="replace")
    check(p.returncode == 0 or not ok, f"{' '.join(map(str, argv))}: exit {p.returncode}: {out[-2000:]}")
    return out


# ---- what tests ask for again and again ----

def until(what, truth, seconds=15):
    """Waits until truth() is true; what it returned."""
    end = time.monotonic() + seconds
    while not (got := truth()):
        if time.monotonic() > end:
            raise Failed(f"did not happen within {seconds} s: {what}")
        time.sleep(0.05)
    return got


def accepts(port, addr=ZS4):
    with contextlib.suppress(OSError):
        connect(addr, port, timeout=2).close()
        return True
    return False


def await_port(port, addr=ZS4, program=None):
    """Waits until somebody listens there."""
    def there():
        check(program is None or program.alive(), f"it ended: {program and program.output() + program.errors()}")
        return accepts(port, addr)
    until(f"{addr} port {port} accepts", there)


def is_taken(port):
    """The listener at that port is Z-Stack's, not the kernel's: otherwise the test would test the kernel."""
    if kernel:
        return
    out = sh(f"{tool} --socket {socket_path} ss -l")
    check(re.search(rf":{port}\b", out), f"no listener of Z-Stack's at port {port}: {out}")
    out = net.far_sh(f"ss -Hltn 'sport = {port}'")
    check(not re.search(rf"{re.escape(ZS4)}:{port}\b", out), f"the kernel listens there, too: {out}")


def together(n, work):
    """work(0) … work(n-1) in threads; their results."""
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return list(pool.map(work, range(n)))


def send_until_full(s, most):
    """Until nobody takes more of it, which is before so many bytes."""
    sent = 0
    try:
        while sent < 64 << 20:
            sent += s.send(bytes(1 << 16))
    except TimeoutError:
        pass
    check(sent < most, f"{sent} bytes went")


def check_asleep(pids, what):
    before = cpu_seconds(*pids)
    time.sleep(1)
    check(cpu_seconds(*pids) - before < 0.2, f"{what} does not sleep")


def sleeps(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "S"


def certificate():
    """A self-signed certificate and its key, in files."""
    if not os.path.exists(path("cert.pem")):
        sh(f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {path('key.pem')} "
           f"-out {path('cert.pem')} -days 2 -subj /CN=zs -addext subjectAltName=IP:{ZS4},IP:{ZS6},IP:{LINUX4}")
        os.chmod(path("key.pem"), 0o644)
    return path("cert.pem"), path("key.pem")
