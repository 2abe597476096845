#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""openssh from Debian's packages: sshd forks and executes itself for each connection: test_ssh.py [kernel]."""
import os
import subprocess

import world
from world import LINUX4, ZS4, App, Near, case, check, digest, far, near, path, pattern, put, sh, together

world.start("sshd", "ssh", "scp", "sftp")
os.makedirs("/run/sshd", exist_ok=True)
for name in ("host", "user", "stranger"):
    sh(f"ssh-keygen -q -t ed25519 -N '' -f {path(name)}")
put("authorized", open(path("user.pub"), "rb").read())
BIG = pattern(24 << 20)
put("big.bin", BIG)


def config(addr):
    return put(f"sshd-{addr}", f"""
ListenAddress {addr}:2222
HostKey {path('host')}
PidFile none
AuthorizedKeysFile {path('authorized')}
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
""")


def sshd(how, addr):
    return how("/usr/sbin/sshd", "-D", "-e", "-f", config(addr), ready="Server listening", ok=(0, 255, -15))


OPTIONS = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
           "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]


def ssh(run, addr, *command, key="user", **how):
    return run("ssh", *OPTIONS, "-i", path(key), "-p", "2222", f"root@{addr}", *command, **how)


def scp(run, addr, source, to):
    run("scp", *OPTIONS, "-i", path("user"), "-P", "2222", source.replace("HOST", f"root@{addr}"),
        to.replace("HOST", f"root@{addr}"))


def copied():
    with open(path("copy.bin"), "rb") as f:
        check(digest(f.read()) == digest(BIG), "copy.bin")
    os.unlink(path("copy.bin"))


server = sshd(App, ZS4)


@case
def listener_is_taken():
    world.is_taken(2222)


@case
def login_with_a_key():
    out = ssh(near, ZS4, "echo $SSH_CONNECTION").split()
    check(out[0] == LINUX4 and out[2:] == [ZS4, "2222"], out)


@case
def exit_status_comes_back():
    for want in (0, 3, 255):
        out = sh(f"ssh {' '.join(OPTIONS)} -i {path('user')} -p 2222 root@{ZS4} 'exit {want}'; echo $?", ok=False)
        check(out.split()[-1] == str(want), out)


@case
def a_stranger_is_refused():
    out = ssh(near, ZS4, "true", key="stranger", ok=False)
    check("Permission denied" in out, out)


@case
def files_both_ways():
    scp(near, ZS4, path("big.bin"), f"HOST:{path('copy.bin')}")
    copied()
    scp(near, ZS4, f"HOST:{path('big.bin')}", path("copy.bin"))
    copied()


@case
def a_stream_both_ways():
    p = subprocess.run(["ssh", *OPTIONS, "-i", path("user"), "-p", "2222", f"root@{ZS4}", "cat"], input=BIG,
                       stdout=subprocess.PIPE, timeout=50, check=True)
    check(digest(p.stdout) == digest(BIG), "through cat")


@case
def a_terminal():
    out = ssh(near, ZS4, "-tt", "tty; stty -a | head -1")
    check("/dev/pts/" in out and "speed" in out, out)


@case
def many_logins_at_a_time():
    check(together(10, lambda n: ssh(near, ZS4, f"echo {n}").split()) == [[str(n)] for n in range(10)], "10 logins")


@case
def forwarded_ports():
    """A forwarded port: sshd connects to Linux for the client."""
    with Near(world.PYTHON, "-u", "-m", "http.server", "-b", LINUX4, "7200", ready="Serving", ok=(0, -15)), \
            Near("ssh", *OPTIONS, "-v", "-N", "-i", path("user"), "-p", "2222", "-L", f"7201:{LINUX4}:7200", f"root@{ZS4}",
                 ready="Entering interactive session", ok=(0, 255, -15)):
        out = near("curl", "-sS", "-m", "30", "-o", path("copy.bin"), "http://127.0.0.1:7201/big.bin")
        check(out == "", out)
        copied()


@case
def client_of_z_stack():
    with sshd(Near, LINUX4):
        check(ssh(far, LINUX4, "echo hello") == "hello\n", "hello")
        scp(far, LINUX4, path("big.bin"), f"HOST:{path('copy.bin')}")
        copied()
        scp(far, LINUX4, f"HOST:{path('big.bin')}", path("copy.bin"))
        copied()
    check(ssh(far, ZS4, "echo hello") == "hello\n", "to a program of Z-Stack")


@case
def server_ends_in_order():
    check(server.stop() == 0, server.errors())


world.finish(120)
