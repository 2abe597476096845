#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that walk the interfaces find the stack's addresses, and serve at each: test_interfaces.py. The service has
one interface on the kernel's zs0, and one that is its own alone, of a VLAN."""
import contextlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess

import world
from world import PYTHON, ZS4, ZS6, App, case, check, far, is_taken, path, put, sh, tool, until

VLAN4 = "10.8.0.2"
world.start("node", "ip", "hostname", service_args=("--addr", f"{VLAN4}/24@0.8"))


def needs(program):
    if shutil.which(program) is None:
        raise world.Skip(f"{program} is not installed (devtools/packages.txt)")


def needs_linux_6_6():
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 6):
        raise world.Skip("sharing a port of af_packet needs Linux 6.6")


def command(*argv):
    return sh(f"{tool} --socket {world.socket_path} {' '.join(argv)}")


def addresses(text):
    """What `ip addr` lists: name of the interface and address; the name's index."""
    name, found, index = None, [], {}
    for line in text.splitlines():
        if m := re.match(r"(\d+): ([^:@]+)", line):
            name = m[2]
            index[name] = int(m[1])
        elif m := re.match(r"\s+inet6? ([0-9a-f.:]+)/", line):
            found.append((name, m[1]))
    return found, index


# ---- what is listed ----

@case
def ip_lists_both():
    found, index = addresses(far("ip", "addr"))
    for want in (("zs0", ZS4), ("zs0", ZS6), ("zstack1", VLAN4), ("lo", "127.0.0.1")):
        check(found.count(want) == 1, f"{want}: {found}")
    check(sum(a.startswith("fe80:") for n, a in found if n == "zs0") == 1, found)
    check(len(set(index.values())) == len(index), index)
    check(("zs0", ZS4) in addresses(far("ip", "-4", "addr"))[0], "-4")
    found, _ = addresses(far("ip", "-6", "addr"))
    check(("zs0", ZS6) in found and ("zs0", ZS4) not in found, found)


@case
def node_lists_them():
    listed = json.loads(far("node", "-p", "JSON.stringify(os.networkInterfaces())"))
    check([i["cidr"] for i in listed["zs0"] if i["family"] == "IPv4"] == [f"{ZS4}/24"], listed)
    check([i["cidr"] for i in listed["zstack1"]] == [f"{VLAN4}/24"], listed)
    check(listed["zstack1"][0]["mac"] == listed["zs0"][0]["mac"] != "00:00:00:00:00:00", listed)


NAMES = put("names.py", """import socket, fcntl, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ask = lambda what, name: fcntl.ioctl(s, what, struct.pack('16s240x', name.encode()))
index = socket.if_nametoindex('zstack1')
assert (index, 'zstack1') in socket.if_nameindex() and socket.if_indextoname(index) == 'zstack1'
assert struct.unpack_from('i', ask(0x8933, 'zstack1'), 16)[0] == index
assert socket.inet_ntoa(ask(0x8915, 'zstack1')[20:24]) == '10.8.0.2'
assert socket.inet_ntoa(ask(0x891b, 'zstack1')[20:24]) == '255.255.255.0'
assert socket.inet_ntoa(ask(0x8919, 'zstack1')[20:24]) == '10.8.0.255'
assert struct.unpack_from('i', ask(0x8921, 'zstack1'), 16)[0] == 1500
assert struct.unpack_from('H', ask(0x8913, 'zstack1'), 16)[0] & 1
assert ask(0x8927, 'zstack1')[18:24] == ask(0x8927, 'zs0')[18:24]
assert fcntl.ioctl(s, 0x8910, struct.pack('16xi236x', index))[:8] == b'zstack1\\0'
for what in (0x8933, 0x8915, 0x8913):
    try:
        ask(what, 'zstack9')
        raise SystemExit('zstack9 is there')
    except OSError as e:
        assert e.errno == 19
print('right')
""")


@case
def an_interface_of_its_own_answers_as_the_kernels_do():
    check("right" in far(PYTHON, NAMES), "names")


PKTINFO = put("pktinfo.py", """import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 8, 1)
s.bind(('', 5353))
print('bound', flush=True)
_, control, _, _ = s.recvmsg(10, 100)
print('from', socket.if_indextoname(struct.unpack_from('I', control[0][2])[0]))
""")


def arrives_at(name, *prefix):
    with App(*prefix, PYTHON, PKTINFO, ready="bound") as a, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", (ZS4, 5353))
        a.wait(20)
        check(f"from {name}\n" in a.output(), a.output() + a.errors())


@case
def datagrams_say_where_they_came():
    arrives_at("zs0")
    arrives_at("zstack0", "unshare", "-n")


LINK = put("link.py", """import socket, subprocess, sys
addr = [w for w in subprocess.run(['ip', '-6', 'addr', 'show', 'scope', 'link'], stdout=subprocess.PIPE, text=True).stdout.split()
        if w.startswith('fe80:')][0].split('/')[0]
s = socket.socket(socket.AF_INET6)
s.bind((addr, 7300, 0, socket.if_nametoindex('zs0')))
s.listen()
print('serves', addr, flush=True)
c, peer = s.accept()
c.sendall(b'%d' % (peer[3] == socket.if_nametoindex('zs0')))
""")


@case
def link_local_addresses_are_bound_to():
    with App(PYTHON, LINK, ready="serves") as a:
        is_taken(7300)
        addr = a.output().split()[1]
        with socket.socket(socket.AF_INET6) as s:
            s.settimeout(10)
            s.connect((addr, 7300, 0, socket.if_nametoindex(world.net.dev)))
            check(s.recv(10) == b"1", "the scope of the peer")
        check(a.wait(20) == 0, a.errors())


# A filter that kills for connect(), by which the library would attach; what the C library does to list is allowed.
SANDBOX = put("sandbox.py", """import ctypes, platform, socket, struct
connect = {'x86_64': 42, 'aarch64': 203}[platform.machine()]
code = b''.join(struct.pack('HBBI', *i) for i in ((0x20, 0, 0, 0), (0x15, 0, 1, connect), (6, 0, 0, 0x80000000), (6, 0, 0, 0x7fff0000)))
code = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 4, ctypes.addressof(code)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
print(socket.if_nameindex())
""")


@case
def in_a_sandbox_the_kernels_are_listed():
    text = far(PYTHON, SANDBOX)
    check("'zs0'" in text and "zstack" not in text, text)


@case
def changes_are_seen_at_once():
    script = ("import sys, os\n"
              "def listed():\n"
              "    return '10.7.0.77' in os.popen('hostname -I').read()\n"
              "print(listed()); sys.stdin.readline(); print(listed()); sys.stdin.readline(); print(listed())\n")
    with subprocess.Popen(world.wrapped([PYTHON, "-uc", script]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          preexec_fn=world.go_far, env=world.clean_environment(), cwd=world.folder) as p:
        got = [p.stdout.readline().strip()]
        for change in ("add 10.7.0.77/24", "del 10.7.0.77/24"):
            command("addr", *change.split())
            p.stdin.write("\n")
            p.stdin.flush()
            got.append(p.stdout.readline().strip())
    check(got == ["False", "True", "False"], got)


@case
def a_rule_that_leaves_an_address_hides_it():
    found, _ = addresses(far("ip", "addr", options=("--leave", VLAN4)))
    check(("zs0", ZS4) in found and not any(a == VLAN4 for _, a in found), found)


@case
def in_another_namespace_all_are_its_own():
    found, index = addresses(far("unshare", "-n", "ip", "addr"))
    check(("zstack0", ZS4) in found and ("zstack1", VLAN4) in found, found)
    check("zs0" not in index, index)


@case
def what_is_shared_is_listed_once():
    """The kernel has the addresses, too."""
    needs_linux_6_6()
    check(world.service.stop() == 0, world.service.errors())
    world.serve("--share", "zsk0")
    found, _ = addresses(far("ip", "addr"))
    listed = far("hostname", "-I").split()
    check(world.service.stop() == 0, world.service.errors())
    world.serve("--addr", f"{VLAN4}/24@0.8")
    check(found.count(("zsk0", ZS4)) == 1 and found.count(("zsk0", ZS6)) == 1, found)
    check(sum(a == ZS4 for _, a in found) == 1 and listed.count(ZS4) == 1 and listed.count(ZS6) == 1, (found, listed))


@case
def without_a_service_what_it_had_is_listed():
    script = f"import os, signal; os.kill({world.service.process.pid}, 9); os.system('sleep 0.2'); os.system('ip -4 addr')"
    found, _ = addresses(far(PYTHON, "-c", script))
    check(any(a == ZS4 for _, a in found) and any(a == VLAN4 for _, a in found), found)
    world.service.wait(20)
    world.serve("--addr", f"{VLAN4}/24@0.8")


# ---- who serves at each ----

QUESTION = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\x03www\x04test\0" + struct.pack("!HH", 1, 1)


def answer_by_udp(addr):
    with socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.connect((addr, 53))
        with contextlib.suppress(OSError):
            s.send(QUESTION)
            return s.recv(512)
    return b""


def answer_by_tcp(addr):
    with contextlib.closing(world.connect(addr, 53)) as s:
        s.sendall(struct.pack("!H", len(QUESTION)) + QUESTION)
        head = world.recv_all(s, 2)
        return world.recv_all(s, struct.unpack("!H", head)[0])


def resolves(addr):
    right = socket.inet_aton("192.0.2.53")
    until(f"an answer from {addr} by UDP", lambda: right in answer_by_udp(addr))
    check(right in answer_by_tcp(addr), f"{addr} by TCP")


@case
def named_listens_at_each():
    needs("named")
    put("zone", "$TTL 60\n@ SOA ns.test. root.test. 1 60 60 60 60\n@ NS ns.test.\nns A 192.0.2.1\nwww A 192.0.2.53\n")
    put("named.conf", f'options {{ directory "{world.folder}"; recursion no; pid-file none; session-keyfile none;'
        f' listen-on-v6 {{ any; }}; }};\ncontrols {{ }};\nzone "test" {{ type primary; file "{path("zone")}"; }};\n')
    with App("named", "-g", "-n", "1", "-c", path("named.conf"), ready="running") as n:
        resolves(ZS4)
        resolves(ZS6)
        is_taken(53)
        check("could not listen" not in n.errors() and "failed" not in n.errors(), n.errors())


def dnsmasq(*options):
    needs("dnsmasq")
    return App("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file",
               "--host-record=www.test,192.0.2.53", *options, ready="started")


@case
def dnsmasq_binds_each():
    with dnsmasq("--bind-interfaces"):
        resolves(ZS4)
        resolves(ZS6)


@case
def dnsmasq_serves_one_interface():
    with dnsmasq("--interface=zs0"):
        resolves(ZS4)
    with dnsmasq("--bind-dynamic", "--interface=zs0"):
        resolves(ZS4)


world.finish()
