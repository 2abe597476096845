#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""zstack run itself: what it refuses, what it hands over, what it tells: test_run.py."""
import json
import os
import re
import subprocess

import world
from world import LINUX4, PYTHON, ZS4, App, case, check, check_echo, connect, far, path, pattern, put, tool

world.start(PYTHON)
HERE = os.path.dirname(os.path.abspath(__file__))
serve = put("serve.py", open(os.path.join(HERE, "programs", "serve.py"), "rb").read())
bind = put("bind.py", "import socket, sys\nfor a in sys.argv[1:]:\n    h, p = a.rsplit(':', 1)\n"
           "    socket.create_server((h, int(p)), family=socket.AF_INET6 if ':' in h else socket.AF_INET)\n")


def said(*argv, env=None, prefix=()):
    """Exit status and words of `zstack run` with these arguments."""
    p = subprocess.run([*prefix, tool, "run", *map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       preexec_fn=world.go_far, env=world.clean_environment(env), cwd=world.folder, timeout=60, check=False)
    return p.returncode, p.stdout


def refused(status, because, *argv, **how):
    got, text = said(*argv, **how)
    check(got == status and because in text, f"{argv}: exit {got}: {text}")
    check(text.count("\n") == 1, text)


SERVICE = ("--service", world.socket_path)


@case
def wrong_arguments():
    for because, argv in (("which program", ()), ("no such option", ("--nonsense", "true")), ("--take x", ("--take", "x", "true")),
                          ("--leave gateway", ("--leave", "gateway", "true")), ("embedded", ("--embedded", "true")),
                          ("embedded", ("--vdev", "net_null0", "true")), ("no-file", ("--rules", "no-file", "true")),
                          ("either", ("--embedded", "--vdev", "a", *SERVICE, "true")),
                          ("no zstackd answers", ("--service", path("none"), "true"))):
        refused(125, because, *argv)


@case
def rules_of_a_file_are_checked_by_line():
    put("rules", "# all of them\n\ntake tcp :80   # the web\nleave\nlaeve :22\n")
    refused(125, "line 5: laeve :22", "--rules", path("rules"), *SERVICE, "true")


@case
def programs_that_can_not_be_served():
    refused(127, "not found", *SERVICE, "zs-no-such-program")
    refused(126, "may not be executed", *SERVICE, "/etc/passwd")
    refused(126, "set-user-ID", *SERVICE, "su", prefix=world.as_user(world.USER))


@case
def static_programs_are_supervised():
    """And are themselves: test_supervised.py has the rest."""
    check(said(*SERVICE, "/sbin/ldconfig", "--version")[0] == 0, "ldconfig")
    check(said(*SERVICE, "--supervise", "sh", "-c", "kill -9 $$") == (-9, ""), "a signal")


@case
def the_program_is_itself():
    check(said(*SERVICE, "--", "sh", "-c", "exit 7") == (7, ""), "exit status")
    check(said(*SERVICE, "sh", "-c", "echo $0 $1", "--json", "-v") == (0, "--json -v\n"), "its arguments")
    check(said(*SERVICE, PYTHON, "-c", "import os; os.kill(os.getpid(), 9)")[0] == -9, "a signal")


@case
def the_environment_is_kept_and_added_to():
    code, out = said("--take", ":80", "--leave", "udp 10.0.0.0/8", "-v", *SERVICE, "env",
                     env={"LD_PRELOAD": "libm.so.6", "ZSTACK_CONFIG": "buffers=8"})
    got = dict(l.split("=", 1) for l in out.splitlines() if "=" in l)
    check(code == 0 and got["LD_PRELOAD"] == f"{world.folder}/libzstack-preload.so:libm.so.6", got.get("LD_PRELOAD"))
    check(got["ZSTACK_RUN"] == "take=:80;leave=udp 10.0.0.0/8;verbose", got["ZSTACK_RUN"])
    check(got["ZSTACK_SOCKET"] == world.socket_path and got["ZSTACK_CONFIG"] == "buffers=8", got)


@case
def a_relative_service_stays_right():
    check(said("--service", "zstackd.sock", "sh", "-c", "cd /; echo $ZSTACK_SOCKET")[1] == f"{world.socket_path}\n", "its path")


@case
def verbose_calls_a_program_as_it_was_started():
    """nginx's workers write "worker process" where the C library has the name."""
    rename = ("import ctypes, socket, sys\n"
              "name = ctypes.c_char_p.in_dll(ctypes.CDLL(None), 'program_invocation_short_name')\n"
              "name.value = b'somebody else'\n"
              "socket.socket().bind((sys.argv[1], 7300))\n")
    code, out = said("-v", *SERVICE, PYTHON, "-c", rename, ZS4)
    check(code == 0 and re.search(r"zstack: python3\[\d+\]: tcp bind", out), out)


@case
def verbose_says_whose_each_socket_is():
    out = said("-v", *SERVICE, PYTHON, bind, f"{ZS4}:7300", "127.0.0.1:7301", "0.0.0.0:7302")[1]
    for want in (rf"zstack: python3\S*\[\d+\]: tcp bind {ZS4}:7300 \(fd \d+\): taken", r"127\.0\.0\.1:7301 \(fd \d+\): both: loopback",
                 r"0\.0\.0\.0:7302 \(fd \d+\): both"):
        check(re.search(want, out), f"{want}: {out}")
    check(said(*SERVICE, PYTHON, bind, f"{ZS4}:7300") == (0, ""), "silent without")


def told(count=1):
    """What `zstack apps` says of the programs of that name, the oldest first, without what is 0."""
    out = subprocess.run([tool, "--json", "--socket", world.socket_path, "apps"], stdout=subprocess.PIPE, text=True, check=True)
    apps = sorted((a for a in map(json.loads, out.stdout.splitlines()) if a["program"].startswith("python3")),
                  key=lambda a: a["app"])
    check(len(apps) == count, f"{apps}")
    return [{whose: {why: n for why, n in by.items() if n} for whose, by in a["told"].items()} for a in apps]


@case
def apps_says_where_sockets_went():
    want = {"taken": {"address": 2, "rule": 1, "loopback": 1, "accepted": 1}, "both": {"wildcard": 1, "loopback": 1},
            "kernel": {"loopback": 1, "rule": 1, "other_subnet": 1, "other_address": 1, "unix": 2, "other_kind": 1}, "failed": {}}
    child = {"taken": {"address": 1}, "both": {}, "kernel": {"unix": 1}, "failed": {}}
    script = put("whose.py", open(os.path.join(HERE, "programs", "whose.py"), "rb").read())
    rules = ("--take", "10.9.0.0/16", "--leave", ":7311")
    with App(PYTHON, script, ZS4, LINUX4, ready="ready", options=rules, stdin=subprocess.PIPE) as a:
        world.until("both wait", lambda: "child" in a.output())
        check(told(2) == [want, child], f"{told(2)}")
        world.net.far_sh(f"{PYTHON} -c 'import socket; socket.create_connection((\"127.0.0.1\", 7308))'")
        world.until("the kernel's connection", lambda: "accepted" in a.output())
        want["kernel"]["accepted"] = 1
        check(told(2)[0] == want, f"{told(2)[0]}")
        text = subprocess.run([tool, "--socket", world.socket_path, "apps", "-r"], stdout=subprocess.PIPE, text=True,
                              check=True).stdout
        check("the kernel's: 1 loopback, 1 rule, 1 other subnet, 1 other address, 2 unix, 1 other kind, 1 accepted\n" in text and
              "taken: 2 address, 1 rule, 1 loopback, 1 accepted\n" in text, text)
        # Those of the parent: 5 taken and 2 both; 8 the kernel's.
        check(re.search(r"python3.* +7 +8\n", text) and re.search(r"python3.* +1 +1\n", text), text)
        a.process.stdin.close()
        check(a.wait(20) == 0, a.errors())
    refused_by_tool = subprocess.run([tool, "apps", "-x"], stderr=subprocess.PIPE, text=True, check=False)
    check(refused_by_tool.returncode == 2 and "-x: what is that" in refused_by_tool.stderr, refused_by_tool.stderr)


@case
def rules_decide():
    for rule, want in ((("--leave", ":7300"), "kernel"), (("--leave", "udp"), "taken"), (("--leave", "connect"), "taken"),
                       (("--take", ":7300", "--leave", ""), "taken"), (("--leave", "10.7.0.0/16"), "kernel")):
        code, out = said("-v", *rule, *SERVICE, PYTHON, bind, f"{ZS4}:7300")
        check(f"{ZS4}:7300" in out and f": {want}" in out, f"{rule}: {out}")
        # The kernel has no such address here.
        check(("Cannot assign" in out) == (want == "kernel"), out)
    put("rules", "leave tcp :7300\ntake\n")
    check("kernel" in said("-v", "--rules", path("rules"), *SERVICE, PYTHON, bind, f"{ZS4}:7300")[1], "of a file")


ITSELF = f'''import socket, sys
l = socket.create_server(("{ZS4}", 7399))
a = socket.create_connection(("{ZS4}", 7399))
b = l.accept()[0]
for line in sys.stdin:
    a.sendall(b"x" * 99)
    b.sendall(b.recv(99, socket.MSG_WAITALL))
    print(len(a.recv(99, socket.MSG_WAITALL)), flush=True)
'''


def rounds(n, *options):
    """Of a program that is connected to itself: the first round after which the service says that it is by a link; 0."""
    with App(PYTHON, path("itself.py"), options=options, stdin=subprocess.PIPE, ok=(0, -15)) as p:
        for i in range(1, n + 1):
            p.process.stdin.write(b"\n")
            p.process.stdin.flush()
            world.until(f"round {i}", lambda: p.output().count("99") == i)
            out = subprocess.run([tool, "--json", "--socket", world.socket_path, "ss", "-a"], stdout=subprocess.PIPE,
                                 text=True, check=True).stdout
            if '"link"' in out:
                return i
        check('"no_link":true' in out, f"zstack ss does not say so: {out}")
        return 0


@case
def a_rule_keeps_connections_off_links():
    put("itself.py", ITSELF)
    check(rounds(100) > 0, "no link without a rule")
    for rule in ("--no-link", "--no-link=:7399", "--no-link=bind", f"--no-link=tcp connect {ZS4}"):
        check(rounds(10, rule) == 0, f"{rule}: a link")
    put("rules", "no-link tcp :7399\n")
    check(rounds(10, "--rules", path("rules")) == 0, "of a file")
    check(rounds(100, "--no-link=udp", "--no-link=:7398") > 0, "rules that do not fit")


@case
def many_programs_of_other_users():
    with App(PYTHON, serve, "threads", ZS4, 7303, ready="listening", user=world.USER, ok=(0, -15)):
        world.is_taken(7303)
        check_echo(connect(ZS4, 7303), pattern(100_000))


@case
def embedded_needs_no_service():
    link = world.net.far_sh("ip link add emb0 type veth peer name emb1; sysctl -qw net.ipv6.conf.emb0.disable_ipv6=1;"
                            "ip link set emb0 up; ip addr add 10.8.0.1/24 dev emb1; ip link set emb1 up")
    check("rror" not in link, link)
    options = ("--embedded", "--vdev", "net_af_packet0,iface=emb0", "--addr", "10.8.0.2/24", "--no-huge")
    with App(PYTHON, serve, "threads", "10.8.0.2", 7304, ready="listening", line=[tool, "run", *options, "--"], ok=(0, -15)):
        out = subprocess.run([PYTHON, "-c", "import socket, os\ns = socket.create_connection(('10.8.0.2', 7304), 20)\n"
                              "d = os.urandom(200000)\ns.sendall(d)\ns.shutdown(1)\ng = b''\n"
                              "while p := s.recv(65536):\n    g += p\nprint(g == d)"],
                             preexec_fn=world.go_far, stdout=subprocess.PIPE, text=True, timeout=50, check=False)
        check(out.stdout == "True\n", out.stdout)


world.finish()
