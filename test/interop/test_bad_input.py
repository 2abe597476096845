#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every wrong start ends with one line on standard error, an exit code, and nothing left behind."""
import os
import re
import resource
import subprocess

import peer
from peer import Net, case, check, sh

peer.start()
net = Net("af_packet")
AF_PACKET = ["--vdev", "net_af_packet0,iface=zs0", "--no-huge"]
ADDR = ["--addr", "10.7.0.2/24"]
GOOD = AF_PACKET + ADDR


def own_folders():
    """Those where a program could leave something, for this test alone: others run beside it."""
    places = [d for d in ("/run/dpdk", "/dev/hugepages") if os.path.isdir(d)]
    for d in places:
        sh(f"mount -t {'hugetlbfs' if d == '/dev/hugepages' else 'tmpfs'} none {d}")
    if "/run/dpdk" in places:
        os.mkdir("/run/dpdk/rte")  # EAL keeps it, empty
    fresh = "/mnt"
    sh(f"mount -t tmpfs none {fresh}")
    if peer.build.startswith("/tmp/"):
        os.makedirs(fresh + peer.build[4:])
        sh(f"mount --bind {peer.build} {fresh}{peer.build[4:]}")
    sh(f"mount --rbind {fresh} /tmp")
    return [*places, "/tmp"]


OWN = own_folders()


def traces():
    """What a program could leave behind."""
    files = [os.path.join(d, f) for d in OWN for f in os.listdir(d)]
    with open("/proc/sys/vm/nr_hugepages") as f:
        return sorted(files), f.read(), net.far_sh("ip -o link | cut -d: -f2")


def refused(name, args, pattern, prepare=None, started=False):
    """started: the stack was up, and has told of its port in a line before."""
    before = traces()

    def far():
        net.go_far()
        if prepare:
            prepare()
    p = subprocess.run([os.path.join(peer.build, "examples", name), *args], preexec_fn=far, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
    shown = f"{name} {' '.join(args)}: exit {p.returncode}: {p.stdout}{p.stderr}"
    check(p.returncode > 0, shown)
    lines = p.stderr.splitlines()[started:]
    check(len(lines) == 1 and lines[0].startswith(f"{name}: "), f"not one line: {shown}")
    check(re.search(pattern, p.stderr), f"does not say '{pattern}': {shown}")
    check("listening" not in p.stdout, shown)
    check(traces() == before, f"left behind: {traces()}, before {before}")
    print("# " + p.stderr.rstrip())


@case
def no_link():
    refused("echo", ADDR, "--?vdev")


@case
def no_address():
    refused("echo", AF_PACKET, "--?addr")


@case
def wrong_addresses():
    for bad in ("10.7.0.256/24", "10.7.0.2", "10.7.0.2/33", "fd07::2/129", "fd07:::2/64", "", "/24",
                "10.7.0.2/24@9", "10.7.0.2/24@0.4095", "10.7.0.2/24@0.x", "127.0.0.1/8", "224.0.0.1/24", "0.0.0.0/24",
                "::/64", "ff02::1/64"):
        refused("echo", AF_PACKET + ["--addr", bad], re.escape(bad) if bad else "addr")


@case
def wrong_gateways():
    for bad in ("10.7.0.999", "nobody", "10.99.0.1"):
        refused("echo", GOOD + ["--gateway", bad], re.escape(bad))
    refused("echo", GOOD + ["--gateway", "10.7.0.1", "--gateway", "10.7.0.5"], "gateway")


@case
def missing_interface():
    refused("echo", ["--vdev", "net_af_packet0,iface=none7", "--no-huge", *ADDR], "none7")


@case
def unknown_driver():
    refused("echo", ["--vdev", "net_magic0", "--no-huge", *ADDR], "no driver")


@case
def unknown_pci_address():
    refused("echo", ["--port", "0000:99:00.0", "--no-huge", *ADDR], "0000:99:00.0")
    refused("echo", ["--port", "nonsense", "--no-huge", *ADDR], "no driver")


@case
def wrong_options():
    refused("echo", GOOD + ["--adr", "1"], "--adr")
    refused("echo", GOOD + ["--addr"], "addr")
    refused("echo", GOOD + ["--mtu", "12"], "mtu")
    refused("echo", GOOD + ["--mtu", "big"], "mtu")
    refused("echo", GOOD + ["--cores", "0,x"], "cores")
    refused("echo", GOOD + ["--cores", "4000"], "cores")
    refused("echo", GOOD + ["--congestion", "hope"], "congestion")
    refused("echo", GOOD + ["--mode", "magic"], "mode")
    refused("echo", GOOD + ["--capture", "/none/such/file"], "/none/such/file")


@case
def wrong_arguments():
    refused("echo", GOOD + ["0"], "PORT")
    refused("echo", GOOD + ["65536"], "65536")
    refused("echo", GOOD + ["seven"], "seven")
    refused("echo", GOOD + ["7", "8"], "usage")
    refused("http", GOOD, "usage")
    refused("http", GOOD + ["/none/such"], "/none/such")
    refused("proxy", GOOD + ["80", "somewhere", "80"], "somewhere")
    refused("client", GOOD + ["http://"], "http://")


@case
def not_root():
    refused("echo", GOOD, "root|CAP_NET", prepare=lambda: (os.setgroups([]), os.setgid(65534), os.setuid(65534)))


@case
def no_memory():
    refused("echo", GOOD + ["--mem", "100000000"], "mem")
    # DPDK itself writes a line here that can't be turned off.
    refused("echo", GOOD, "mem", started=True, prepare=lambda: resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20)))


@case
def nobody_answers():
    refused("client", GOOD + ["10.7.0.99", "80"], "connect", started=True)
    refused("client", GOOD + ["10.99.0.1", "80"], "connect", started=True)


@case
def link_is_still_usable():
    with peer.Program(net, "echo", "7"):
        peer.check_echo(peer.connect(), b"x")
    sh("ping -c1 -W1 10.7.0.2", ok=False)


peer.run(60)
