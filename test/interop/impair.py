# SPDX-License-Identifier: BSD-3-Clause
"""An unreliable link: loss, duplicates and reordering both ways, by tc with eBPF (impair.bpf.c).

    from Z-Stack: linux0 ingress ─ redirected ─► ifb0 ─ eBPF ─ htb ─► Linux
    to Z-Stack:   Linux ─► linux0 egress ─ eBPF ─ htb ─► veth

The kernel may have no netem; htb with a slow class for late packets is enough.
"""
import os
import shutil
import tempfile

from peer import Skip, sh

HERE = os.path.dirname(os.path.abspath(__file__))


def compile_bpf(loss, twice, late):
    if shutil.which("clang") is None:
        raise Skip("clang is not installed (devtools/packages.txt)")
    out = tempfile.NamedTemporaryFile(suffix=".o")
    arch = os.uname().machine
    sh(f"clang -O2 -target bpf -I/usr/include/{arch}-linux-gnu -DLOSS={loss} -DTWICE={twice} -DLATE={late}"
       f" -c {HERE}/impair.bpf.c -o {out.name}")
    return out


def impair_device(dev, obj, late_mbit):
    """Everything that leaves dev goes through the program and then through two classes of htb."""
    sh(f"tc qdisc add dev {dev} clsact"
       f" && tc qdisc add dev {dev} root handle 1: htb default 10"
       f" && tc class add dev {dev} parent 1: classid 1:10 htb rate 10gbit burst 1mb cburst 1mb"
       f" && tc class add dev {dev} parent 1: classid 1:20 htb rate {late_mbit}mbit burst 2k cburst 2k"
       f" && tc qdisc add dev {dev} parent 1:20 pfifo limit 200"
       f" && tc filter add dev {dev} egress bpf da obj {obj} sec tc")


def impair(net, loss=0, twice=0, late=0, late_mbit=5):
    """Parts per 10,000 of the packets each way."""
    obj = compile_bpf(loss, twice, late)
    try:
        impair_device(net.dev, obj.name, late_mbit)
        sh("ip link add ifb0 txqueuelen 2000 type ifb && ip link set ifb0 up")
        impair_device("ifb0", obj.name, late_mbit)
        sh(f"tc filter add dev {net.dev} ingress protocol all u32 match u32 0 0 action mirred egress redirect dev ifb0")
    except Exception as e:
        raise Skip(f"the kernel lacks a part of tc: {e}") from e


def repair(net):
    sh(f"tc qdisc del dev {net.dev} clsact; tc qdisc del dev {net.dev} root; ip link del ifb0", ok=False)


def statistics(net):
    """What tc did, for a diagnosis."""
    return sh(f"tc -s qdisc show dev {net.dev}; tc -s class show dev {net.dev}; tc -s qdisc show dev ifb0", ok=False)
