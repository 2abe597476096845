#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The tool zstack, reloading and metrics: a real zstackd, with the programs of two users attached to it."""
import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time

import peer
from peer import LINUX4, LINUX6, ZS4, ZS6, Net, case, check, connect, echo, pattern, sh

OTHER, STRANGER = 4711, 4712  # user ids that nobody has

peer.start()
net = Net()
work = tempfile.TemporaryDirectory()
os.chmod(work.name, 0o755)
for folder in ("www", "etc"):
    os.mkdir(os.path.join(work.name, folder))
with open(os.path.join(work.name, "www", "index.html"), "w") as f:
    f.write("hello\n")
path = os.path.join(work.name, "zstackd.sock")
conf = os.path.join(work.name, "zstackd.conf")


def configure(*node, users=f"0, {OTHER}"):
    """Writes the file of the service."""
    with open(conf, "w") as f:
        f.write("\n".join(["[node]", *node, "[domain all]", f"users = {users}"]) + "\n")


configure(f"addr = {ZS4}/24", f"addr = {ZS6}/64")
# The telemetry's socket is a file of one name for all processes of DPDK's: a folder of our own for it.
sh("mkdir -p /run/dpdk && mount -t tmpfs none /run/dpdk")
service = peer.Service(net, path, "-c", conf, "--metrics", "127.0.0.1:9100", "--telemetry", addrs=[])
tool = os.path.join(peer.build, "tools/zstack")
www = peer.Attached(net, service, os.path.join(peer.build, "examples/http"), os.path.join(work.name, "www"), "80",
                    ready="listening|serving")
echoes = peer.Attached(net, service, "setpriv", "--reuid", str(OTHER), "--clear-groups",
                       os.path.join(peer.build, "examples/echo"), "7007", ready="listening|serving")


def run(*args, user=None, status=0):
    """The tool's output and what it said on standard error."""
    prefix = ["setpriv", "--reuid", str(user), "--clear-groups"] if user is not None else []
    p = subprocess.run([*prefix, tool, "--socket", path, *args], text=True, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=60)
    check(p.returncode == status, f"zstack {' '.join(args)}: exit {p.returncode}, not {status}: {p.stderr}")
    return p.stdout, p.stderr


def ask(*args, user=None):
    """The objects of the tool's JSON output."""
    return [json.loads(line) for line in run("--json", *args, user=user)[0].splitlines()]


def refused(*args, says, status=1, user=None):
    out, err = run(*args, user=user, status=status)
    check(says in err and out == "" and err.count("\n") == 1, f"zstack {' '.join(args)}: {out!r} {err!r}")


def until(truth, what, seconds=30):
    end = time.monotonic() + seconds
    while not truth():
        check(time.monotonic() < end, what)
        time.sleep(0.05)


def header(name):
    """A number of src/chan/attach.h."""
    with open(os.path.join(os.path.dirname(__file__), "../../src/chan/attach.h")) as h:
        text = h.read()
    if name == "ATTACH_VERSION":
        return int(text.split("#define ATTACH_VERSION")[1].split()[0])
    body = text.split("enum attach_type {")[1].split("};")[0]
    return re.findall(r"^\s*(ATTACH_\w+)", body, re.M).index(name) + 1


def answer(s, body):
    """What the service says to a request on its socket, to the end of the answer."""
    s.send(struct.pack("<IHH", 0x415a4b53, header("ATTACH_VERSION"), header("ATTACH_ADMIN")) + body)
    said = b""
    while len(piece := s.recv(20000)) > 8:
        said += piece[8:]
    return said


@contextlib.contextmanager
def manager():
    """A connection to the service's socket, without the tool."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(20)
        s.connect(path)
        yield s


@contextlib.contextmanager
def capture(*args):
    """The tool in the background; it captures when the service says so."""
    before = service.errors().count("capture begins")
    p = subprocess.Popen([tool, "--socket", path, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: service.errors().count("capture begins") > before, "the capture does not begin")
    try:
        yield p
    finally:
        p.kill()
        p.wait()


def blocks(data):
    """Types and bodies of the blocks of a pcapng file."""
    at, out = 0, []
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        check(length % 4 == 0 and struct.unpack_from("<I", data, at + length - 4)[0] == length, "a bad block")
        out.append((kind, data[at + 8:at + length - 4]))
        at += length
    return out


@case
def ss_shows_sockets_with_their_programs():
    with connect(ZS4, 7007) as c:
        check(echo(c, b"x" * 5000, half_close=False)[:5000] == b"x" * 5000, "the echo differs")
        socks = ask("ss", "-t", "-i")
        mine = [s for s in socks if s["local_port"] == 7007 and s["peer_port"] == c.getsockname()[1]]
        check(len(mine) == 1, f"{socks}")
        s = mine[0]
        check((s["state"], s["local"], s["peer"]) == ("ESTABLISHED", ZS4, LINUX4), f"{s}")
        check(s["user"] == OTHER and "echo" in s["program"], f"{s}")
        check(s["info"]["bytes_received"] >= 5000 and s["info"]["snd_mss"] > 500, f"{s['info']}")
        check(not any(x["listens"] for x in socks), "listeners without -l")
        text = run("ss", "-i", "dport", str(c.getsockname()[1]))[0].splitlines()
        check(len(text) == 3 and "ESTABLISHED" in text[1] and "rtt:" in text[2], f"{text}")
    ports = {s["local_port"] for s in ask("ss", "-tl")}
    check(ports == {80, 7007}, f"listeners: {ports}")
    check(ask("ss", "-u") == [], "sockets of UDP")
    check({s["local_port"] for s in ask("ss", "-a", "port", "80")} == {80}, "the filter lets others through")


@case
def what_several_hold_is_one_row():
    """A listener of a master and its workers: once, with all of them."""
    held = peer.Attached(net, service, os.path.join(peer.build, "test/interop/fork_server"), "workers", ready="ready")
    try:
        until(lambda: len(ask("ss", "-tl", "port", "7")[0]["users"]) == 5, "five hold it")
        rows = ask("ss", "-tl", "port", "7")
        check(len(rows) == 1, f"{rows}")
        pids = {u["pid"] for u in rows[0]["users"]}
        check(len(pids) == 5 and held.process.pid in pids and rows[0]["pid"] in pids, f"{rows}")
        check(len(ask("ss", "-l", "program", rows[0]["program"])) == 1, "not found by its program")
        text = run("ss", "-l", "port", "7")[0].splitlines()
        check(len(text) == 2 and text[1].count(",pid=") == 5 and ' users:(("' in text[1], f"{text}")
    finally:
        held.end()
    until(lambda: ask("ss", "-tl", "port", "7") == [], "it is gone")


@case
def versions_are_told():
    said = subprocess.run([tool, "--version"], text=True, capture_output=True)
    check(re.fullmatch(r"zstack \d+\.\d+\.\d+\n", said.stdout) and said.returncode == 0, f"{said}")
    of_service = subprocess.run([os.path.join(peer.build, "src/svc/zstackd"), "--version"], text=True, capture_output=True)
    check(of_service.stdout == said.stdout.replace("zstack", "zstackd") and of_service.returncode == 0, f"{of_service}")


@case
def a_state_that_there_is_not_is_refused():
    refused("ss", "state", "FOO", says="no such state; there are CLOSED, LISTEN, SYN-SENT", status=2)
    check(ask("ss", "state", "listen") != [], "listeners")
    check(all(s["state"] == "LISTEN" for s in ask("ss", "state", "LISTEN")), "others")
    refused("ping", "-s", "513", LINUX4, says="ping -s 513: give a number of bytes from 1 to 512", status=2)


@case
def apps_and_top_name_the_programs():
    apps = {a["program"]: a for a in ask("apps")}
    check({a["user"] for a in apps.values()} == {0, OTHER}, f"{apps}")
    check(all(a["state"] == "attached" and a["sockets"] > 0 and a["memory"] > 0 for a in apps.values()), f"{apps}")
    view, = ask("top", "-i", "0.2", "-n", "1")
    check(len(view["apps"]) == 2 and 0 <= view["cores"][0]["busy"] <= 1, f"{view}")
    check("Busy" in run("top", "-i", "0.1", "-n", "1")[0], "no table")


@case
def stat_counts_and_says_why_packets_were_dropped():
    before, = ask("stat")
    with connect(ZS4, 80):
        pass
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b"nobody listens there", (ZS4, 9))
    until(lambda: ask("stat")[0]["drops"]["udp_no_port"] > before["drops"]["udp_no_port"], "the drop is not counted")
    after, = ask("stat")
    check(after["counters"]["tcp_passive_opens"] > before["counters"]["tcp_passive_opens"], "no passive open")
    check(any(n.endswith("rx_packets") and v > 0 for n, v in after["ports"].items()), f"{after['ports']}")
    check("udp_no_port" in run("stat")[0], "the reason is not in the table")
    first, second = ask("stat", "-i", "0.1", "-n", "2")
    check("counter_rates" in second and "counter_rates" not in first, "rates")


@case
def addresses_come_and_go():
    extra = "10.7.0.99"
    check({a["addr"] for a in ask("addr")} >= {f"{ZS4}/24", f"{ZS6}/64"}, "the addresses of the command line")
    with connect(ZS4, 7007) as c:
        run("addr", "add", f"{extra}/24")
        check(f"{extra}/24" in {a["addr"] for a in ask("addr")}, "the new address is not listed")
        with connect(extra, 7007) as d:
            data = pattern(10000)
            check(echo(d, data) == data, "the echo by the new address differs")
        refused("addr", "add", f"{extra}/24", says="is there already")
        for other in (f"{extra}/16", f"{extra}/24@1", f"{extra}/24@0.7", f"{extra}/25@0"):
            refused("addr", "del", other, says="no such address")
        check(f"{extra}/24" in {a["addr"] for a in ask("addr")}, "another address than the one that was named is gone")
        run("addr", "del", extra)
        refused("addr", "del", extra, says="no such address")
        for place in ("", "@0", "@0.7"):
            run("addr", "add", f"{extra}/24{place}")
            run("addr", "del", f"{extra}/24{place}")
        run("addr", "add", f"{extra}/24@0.7")
        refused("addr", "del", f"{extra}/24@0", says="no such address")
        run("addr", "del", f"{extra}/24")
        check(echo(c, b"still here") == b"still here", "a connection of another address broke")
    refused("addr", "add", "10.7.0/24", says="write IP/LEN")
    refused("addr", "add", "10.7.0.98/24@7", says="there is no port 7")


@case
def routes_come_and_go():
    run("route", "add", "10.99.0.0/16", "via", LINUX4)
    check({"10.99.0.0/16"} == {r["prefix"] for r in ask("route") if r.get("via") == LINUX4}, "the route is not listed")
    sh("ip addr add 10.99.0.1/32 dev lo")
    out = run("ping", "-c", "1", "10.99.0.1")[0]
    check("1 received" in out, out)
    refused("route", "add", "10.99.0.0/16", "via", LINUX4, says="is there already")
    run("route", "del", "10.99.0.0/16", "via", LINUX4)
    refused("ping", "-c", "1", "10.99.0.1", says="no route")
    refused("route", "add", "10.99.0.0/16", "via", "192.0.2.1", says="on no link of ours")
    refused("route", "add", "10.99.0.1/16", "via", LINUX4, says="bits behind its length")
    refused("route", "add", "10.99.0.0/16", "via", LINUX6, says="one is IPv4")


@case
def ping_is_answered_by_both_families():
    for to in (LINUX4, LINUX6):
        answers = ask("ping", "-c", "2", "-i", "0.05", to)
        check([a["seq"] for a in answers] == [1, 2] and all(a["ttl"] == 64 and a["rtt_us"] > 0 for a in answers),
              f"{answers}")
    check(any(n["addr"] == LINUX4 for n in ask("neigh")), "the neighbour is not listed")
    out, _ = run("ping", "-c", "1", "-W", "0.1", "10.7.0.77", status=1)
    check("0 received" in out, out)


@case
def capture_writes_what_its_filter_names():
    out = os.path.join(work.name, "frames.pcapng")
    with capture("capture", "-w", out, "-c", "6", "tcp", "port", "7007") as p:
        for port in (80, 7007, 7007):
            with connect(ZS4, port) as c:
                if port == 7007:
                    echo(c, b"captured")
        check(p.wait(30) == 0, p.stderr.read())
    with open(out, "rb") as f:
        parts = blocks(f.read())
    check([k for k, _ in parts[:2]] == [0x0a0d0d0a, 1], "section and interface come first")
    packets = [b for k, b in parts if k == 6]
    check(len(packets) == 6, f"{len(packets)} frames")
    for b in packets:
        frame = b[20:]
        check(7007 in struct.unpack_from(">HH", frame, 34) and frame[23] == 6, "a frame that was not asked for")
    with capture("--json", "capture", "icmp") as p:
        sh(f"ping -c 1 {ZS4}")
        line = json.loads(p.stdout.readline())
        check(line["proto"] == "icmp" and not line["out"] and line["dst"] == ZS4, f"{line}")
        p.send_signal(signal.SIGINT)
        check(p.wait(30) == 0, "exit status after SIGINT")
    until(lambda: service.errors().count("capture ends") >= 2, "the service goes on capturing")
    refused("capture", "-c", "1", "nonsense", says="a filter is")


@case
def a_reader_that_reads_nothing_keeps_nobody_waiting():
    with capture("capture", "-w", "-") as p:
        p.send_signal(signal.SIGSTOP)
        for _ in range(4):
            with connect(ZS4, 7007, timeout=60) as c:
                data = pattern(3 << 20)
                check(echo(c, data) == data, "the echo beside it differs")
        check(len(ask("apps")) == 2, "another manager has to wait")
        p.send_signal(signal.SIGCONT)
    until(lambda: "lost" in service.errors().split("capture ends")[-1], "the capture does not end")


@case
def others_see_what_is_theirs():
    with connect(ZS4, 7007) as c, connect(ZS4, 80):
        check(echo(c, b"x") == b"x", "the echo differs")
        socks = ask("ss", "-a", user=OTHER)
        check(socks and {s["local_port"] for s in socks} == {7007}, f"{socks}")
        check({a["user"] for a in ask("apps", user=OTHER)} == {OTHER}, "another user's program")
    check(ask("addr", user=OTHER) == ask("addr"), "other addresses")
    for command in (["stat"], ["neigh"], ["addr", "add", "10.7.0.50/24"], ["capture", "-c", "1"], ["ping", LINUX4],
                    ["top", "-n", "1"], ["route", "del", "default", "via", LINUX4]):
        refused(*command, says="is for root", user=OTHER)
    refused("ss", says="may not attach", user=STRANGER)


def asks_what_is_refused():
    """In a process of another user: refusals, one after the other on one connection, and what comes behind each."""
    with manager() as s:
        for request in ({"do": "addr-add", "addr": "10.7.0.50/24"}, {"do": "addr-del", "addr": ZS6},
                        {"do": "route-add", "prefix": "10.98.0.0/16", "via": LINUX4}, {"do": "counters"},
                        {"do": "capture", "count": 1}, {"do": "ping", "to": LINUX4}):
            said = answer(s, json.dumps(request).encode())
            check(set(json.loads(said)) == {"error", "errno"}, f"{request}: {said!r}")
            # Whatever else the refused request makes the service do comes before this answer.
            check(b'"local_port"' in (said := answer(s, b'{"do":"sockets","all":true}')), f"{request}, then: {said!r}")


@case
def what_is_refused_is_not_done():
    before = ask("addr"), ask("route"), service.errors()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresuid(OTHER, OTHER, OTHER)
        try:
            asks_what_is_refused()
        except BaseException as e:  # pylint: disable=broad-except
            print(f"    {e}", flush=True)
            os._exit(1)
        os._exit(0)
    check(os.waitpid(child, 0)[1] == 0, "more than a refusal")
    check((ask("addr"), ask("route"), service.errors()) == before, "it was done")


@case
def wrong_arguments_are_one_sentence():
    for args in ([], ["foo"], ["ss", "-x"], ["ss", "sport", "x"], ["ss", "sport"], ["ss", "nonsense", "1"],
                 ["stat", "-i", "0"], ["stat", "more"], ["top", "-n", "-1"], ["addr", "add"], ["route", "add", "x"],
                 ["ping"], ["ping", "-c", "x", LINUX4], ["capture", "-s", "0"], ["capture", "port", "x"], ["--foo"]):
        _, err = run(*args, status=2)
        check(err.startswith("zstack: ") and "--help" in err, f"{args}: {err!r}")
    refused("addr", "add", "x" * 600, says="too long")
    usage = run("--help")[0]
    check("usage: zstack" in usage, "no help")
    commands = re.findall(r"^  ([a-z]+) ", usage, re.M)
    check(len(commands) == 10, f"{commands}")
    for c in commands:
        for args in ([c, "--help"], ["--json", c, "--help"]):
            out, err = run(*args)
            check(out.startswith("usage: zstack ") and c in out.splitlines()[0].split() and err == "", f"{args}: {out!r} {err!r}")
    check(run("addr", "add", "--help")[0] == run("addr", "-h")[0] != "", "help differs by its place")
    p = subprocess.run([tool, "--socket", "/nonexistent", "ss"], text=True, stderr=subprocess.PIPE)
    check(p.returncode == 1 and "no zstackd answers" in p.stderr, p.stderr)


@case
def nonsense_on_the_socket_is_refused():
    for body in (b"", b"{", b"[]", b'{"do":1}', b'{"do":"nothing"}', b'{"do":"ping","to":7}', b"\xff\xfe",
                 b'{"do":"sockets","do":"apps"}', b"[" * 400, b'{"do":"ping","to":"10.7.0.1","bytes":-1}',
                 b'{"do":"capture","port":99999999999}', b'{"do":"addr-add"}'):
        with manager() as s:
            said = answer(s, body)
            check(b'"error"' in said, f"{body!r} is answered with {said!r}")
    check(len(ask("apps")) == 2, "the service is not as before")


def reload():
    before = service.errors().count("reload")
    service.process.send_signal(signal.SIGHUP)
    until(lambda: service.errors().count("reload") > before, "the service does not reload")
    return service.errors().rsplit("zstackd: ", 1)[-1]


@case
def reload_applies_what_differs_and_keeps_connections():
    with connect(ZS4, 7007) as c:
        configure(f"addr = {ZS4}/24", f"addr = {ZS6}/64", "addr = 10.7.0.44/24", f"gateway = {LINUX4}", "mtu = 1400",
                  users="0")
        said = reload()
        check("2 added, 0 removed; 1 domains changed; what takes a restart: mtu" in said, said)
        check("10.7.0.44/24" in {a["addr"] for a in ask("addr")}, "the new address is not there")
        check(any(r["prefix"] == "0.0.0.0/0" and r["via"] == LINUX4 for r in ask("route")), "no default route")
        refused("ss", says="may not attach", user=OTHER)
        data = pattern(20000)
        check(echo(c, data) == data, "the connection broke")
    with open(conf, "a") as f:
        f.write("[node]\naddr = nonsense\nspeed = 7\n")
    said = reload()
    check("no such key" in said and "nothing was changed" in said, said)
    configure(f"addr = {ZS4}/24", f"addr = {ZS6}/64")
    said = reload()
    check("0 added, 2 removed; 1 domains changed" in said and "restart" not in said, said)
    check(ask("apps", user=OTHER), "the user may attach again")
    with connect(ZS4, 7007) as c:
        check(echo(c, b"again") == b"again", "the echo differs")


def state():
    """What reloading may change."""
    return ({a["addr"] for a in ask("addr")}, {(r["prefix"], r.get("via")) for r in ask("route")})


def line_of(text):
    with open(conf) as f:
        return [line.strip() for line in f].index(text) + 1


@case
def reload_of_a_file_with_one_impossible_line_changes_nothing():
    """As far as the file alone tells, and by what the stacks refuse."""
    before = state()
    usual = (f"addr = {ZS4}/24", f"addr = {ZS6}/64")
    for wrong, why in (("addr = 10.7.0.255/24", "no host can have this address"), ("addr = 10.7.0.7/24@3", "there is no port 3"),
                       ("gateway = 10.99.0.1", "no address has a prefix"), ("addr = 10.7.0.45/16", "is there already")):
        configure("addr = 10.7.0.45/24", *usual, wrong, f"gateway = {LINUX6}", users="0")
        said = reload()
        check(f"{conf}:{line_of(wrong)}: {wrong}: {why}" in said and "nothing was changed" in said, said)
        check(state() == before, f"{state()} instead of {before}")
        check(ask("apps", user=OTHER), "the user may not attach any more")
    # One VLAN more than there are interfaces; this only the stack knows.
    many = [f"addr = 10.8.{i}.2/24@0.{i + 1}" for i in range(40)]
    configure(f"gateway = {LINUX4}", "addr = 10.7.0.45/24", f"addr = {ZS6}/64", f"addr = {ZS4}/16", *many, users="0")
    said = reload()
    check(re.search(rf"{conf}:[0-9]+: addr = 10.8.[0-9]+.2/24@0.[0-9]+: .*too many interfaces; nothing was changed", said),
          said)
    check(state() == before, f"{state()} instead of {before}")
    with connect(ZS4, 7007) as c:
        check(echo(c, b"again") == b"again", "the echo differs")
    configure(*usual)
    check("0 added, 0 removed; 0 domains changed" in reload(), "something was changed")


@case
def reload_of_a_file_without_what_a_start_needs_changes_nothing():
    """As one that is being written may be for a moment. The ports are of the command line here."""
    run("addr", "add", "10.7.0.46/24")
    before = state()
    with connect(ZS4, 7007) as c:
        for content in ("", "[node]\n", "[domain all]\nusers = 0\n", f"# addr = {ZS4}/24\n"):
            with open(conf, "w") as f:
                f.write(content)
            said = reload()
            check("reload: no address: " in said and "nothing was changed" in said, said)
            check(state() == before, f"{state()} instead of {before}")
            check(ask("apps", user=OTHER), "the user may not attach any more")
        check(echo(c, b"still here") == b"still here", "the connection broke")
    configure(f"addr = {ZS4}/24", f"addr = {ZS6}/64")
    check("0 added, 0 removed; 0 domains changed" in reload(), "something was changed")
    run("addr", "del", "10.7.0.46")


@case
def reload_takes_an_address_with_another_length_and_what_the_tool_did():
    run("addr", "add", "10.7.0.46/24")
    configure(f"addr = {ZS4}/24", f"addr = {ZS6}/64", "addr = 10.7.0.46/24", "addr = 10.7.0.47/24")
    said = reload()
    check("1 added, 0 removed" in said, said)
    configure(f"addr = {ZS4}/24", f"addr = {ZS6}/64", "addr = 10.7.0.46/24", "addr = 10.7.0.47/16", "gateway = 10.7.3.1")
    said = reload()
    check("2 added, 1 removed" in said, said)
    check("10.7.0.47/16" in state()[0] and ("0.0.0.0/0", "10.7.3.1") in state()[1], f"{state()}")
    run("addr", "del", "10.7.0.46")
    configure(f"addr = {ZS4}/24", f"addr = {ZS6}/64")
    said = reload()
    check("0 added, 2 removed" in said, said)


@case
def metrics_are_read_by_http():
    def get(url):
        return net.far_sh(f"curl -sS -m 20 -w '%{{http_code}}' {url}")
    text = get("http://127.0.0.1:9100/metrics")
    check(text.endswith("200"), text[-200:])
    seen, kinds = set(), {}
    for line in text[:-3].splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            check(name not in kinds, f"{name} twice")
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            m = re.fullmatch(r'([a-z_:0-9]+)(\{([a-z]+="[^"]*",?)+\})? [0-9]+', line)
            check(m, line)
            check(m[1] in kinds and line.rsplit(" ", 1)[0] not in seen, line)
            check(m[1].endswith("_total") == (kinds[m[1]] == "counter"), line)
            seen.add(line.rsplit(" ", 1)[0])
    for want in ('zstack_tcp_passive_opens_total{core="0"}', 'zstack_dropped_total{core="0",reason="udp_no_port"}',
                 "zstack_service_attached_total", 'zstack_port_rx_packets_total{port="net_af_packet0"}',
                 'zstack_sock_sockets{core="0"}'):
        check(want in seen, f"{want} is missing")
    check(get("http://127.0.0.1:9100/").endswith("404"), "another path")
    check(get("-d x http://127.0.0.1:9100/metrics").endswith("405"), "another method")


@case
def telemetry_of_dpdk_has_the_counters():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(20)
    s.connect("/run/dpdk/rte/dpdk_telemetry.v2")
    s.recv(1024)

    def get(command):
        s.send(command.encode())
        return json.loads(s.recv(65536))[command.split(",")[0]]
    check(get("/zstack/counters,0")["tcp_passive_opens"] > 0, "no passive open")
    check("udp_no_port" in get("/zstack/drops"), "no reasons")
    check(get("/zstack/port,0")["rx_packets"] > 0, "nothing received")
    check(get("/zstack/counters,7") is None and get("/zstack/port,x") is None, "no core, no port of that name")
    s.close()


@case
def one_that_does_not_answer_is_given_up():
    """Stopped; and of a name where somebody listens and never accepts."""
    idle = os.path.join(work.name, "idle.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.bind(idle)
        s.listen(0)
        os.kill(service.process.pid, signal.SIGSTOP)
        try:
            asked = [subprocess.Popen([tool, "--socket", at, *what], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                     for at, *what in ((path, "ss"), (path, "apps"), (path, "ping", LINUX4), (path, "capture"), (idle, "stat"),
                                       (idle, "addr"), (idle, "top", "-n", "1"))]
            for p in asked:
                out, why = p.communicate(timeout=60)
                check(p.returncode == 1 and why.count("\n") == 1 and "zstackd does not answer" in why,
                      f"{p.args}: exit {p.returncode}: {out}{why}")
        finally:
            os.kill(service.process.pid, signal.SIGCONT)
    check(len(ask("apps")) == 2, "the programs")


@case
def the_service_ends_in_order():
    for p in (www, echoes):
        p.end()
    check(service.stop() == 0, service.errors())


peer.run(120)
