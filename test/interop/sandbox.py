#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""sandbox.py UNIT PROGRAM ARG...: the program under the restrictions of a unit file, as far as they can be had without
systemd: capabilities, system calls, address families, memory that is written and executed, what is read-only.

Not these: devices, namespaces, /home and /tmp of its own, limits."""
import ctypes
import os
import re
import struct
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 24, 38, 22
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
CLONE_NEWNS = 0x20000
CAPS = """chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service
net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot
sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog
wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore""".split()
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17, "AF_XDP": 44}
LOAD, JEQ, JSET, RET, AND = 0x20, 0x15, 0x45, 0x06, 0x54
ALLOW, EPERM, EAFNOSUPPORT, KILL = 0x7fff0000, 0x00050001, 0x00050061, 0x80000000
X86_64, NR, ARCH, ARG0 = 0xc000003e, 0, 4, 16


def done(rc, what):
    if rc != 0:
        sys.exit(f"sandbox: {what}: {os.strerror(ctypes.get_errno())}")


def settings(unit):
    """Key to its values, in their order."""
    out = {}
    with open(unit) as f:
        for line in f:
            if m := re.match(r"([A-Za-z]+)=(.*)", line):
                out.setdefault(m[1], []).append(m[2])
    return out


def numbers():
    text = subprocess.run(["cc", "-E", "-dM", "-xc", "-"], input="#include <asm/unistd.h>\n", text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    return {m[1]: int(m[2]) for m in re.finditer(r"#define __NR_(\w+) (\d+)", text)}


def calls_of(name):
    """A group's, or the call itself."""
    if not name.startswith("@"):
        return {name}
    text = subprocess.run(["systemd-analyze", "syscall-filter", name], text=True, check=True, stdout=subprocess.PIPE).stdout
    words = [l.strip() for l in text.splitlines()[1:] if l.strip() and not l.strip().startswith("#")]
    return set().union(*(calls_of(w) for w in words))


def allowed(values):
    calls = calls_of("@default")
    for v in values:
        these = set().union(*(calls_of(n) for n in v.lstrip("~").split()))
        calls = calls - these if v.startswith("~") else calls | these
    return calls


def answer_if(call, tests, answer):
    """Code of a call with arguments that it may not have; it is the one that is loaded."""
    return [(JEQ, 0, len(tests) + 1, call), *tests, (RET, 0, 0, answer), (LOAD, 0, 0, NR)]


def seccomp(unit):
    number = numbers()
    code = [(LOAD, 0, 0, ARCH), (JEQ, 1, 0, X86_64), (RET, 0, 0, KILL), (LOAD, 0, 0, NR)]
    if "yes" in unit["MemoryDenyWriteExecute"]:
        # prot: both bits, or execution of what is there.
        code += [(JEQ, 0, 5, number["mmap"]), (LOAD, 0, 0, ARG0 + 16), (AND, 0, 0, 6), (JEQ, 0, 1, 6), (RET, 0, 0, EPERM),
                 (LOAD, 0, 0, NR)]
        code += [(JEQ, 0, 4, number["mprotect"]), (LOAD, 0, 0, ARG0 + 16), (JSET, 0, 1, 4), (RET, 0, 0, EPERM),
                 (LOAD, 0, 0, NR)]
    families = [FAMILIES[f] for f in unit["RestrictAddressFamilies"][0].split()]
    code += [(JEQ, 0, len(families) + 3, number["socket"]), (LOAD, 0, 0, ARG0)]
    code += [(JEQ, len(families) - i, 0, f) for i, f in enumerate(families)]
    code += [(RET, 0, 0, EAFNOSUPPORT), (LOAD, 0, 0, NR)]
    for call in sorted(allowed(unit["SystemCallFilter"])):
        if call in number:
            code += [(JEQ, 0, 1, number[call]), (RET, 0, 0, ALLOW)]
    code += [(RET, 0, 0, EPERM)]
    return code


def filter_set(code):
    raw = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *c) for c in code))
    prog = struct.pack("=H6xQ", len(code), ctypes.addressof(raw))
    done(libc.prctl(PR_SET_SECCOMP, 2, ctypes.create_string_buffer(prog), 0, 0), "seccomp")


def read_only(unit):
    """Everything but /dev, /proc, /sys (ProtectSystem=strict), what is named, and what is open for it."""
    done(libc.unshare(CLONE_NEWNS), "mount namespace")
    done(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
    writable = [p.lstrip("-") for p in unit["ReadWritePaths"][0].split()] + os.environ.get("SANDBOX_WRITABLE", "").split()
    for path in [p for p in writable if os.path.isdir(p)]:
        done(libc.mount(path.encode(), path.encode(), None, MS_BIND | MS_REC, None), path)
    for path in ["/", *unit["ReadOnlyPaths"][0].split()]:
        if path != "/":
            done(libc.mount(path.encode(), path.encode(), None, MS_BIND | MS_REC, None), path)
        done(libc.mount(None, path.encode(), None, MS_BIND | MS_REMOUNT | MS_RDONLY, None), f"{path} read-only")
    for path in [p for p in writable if p.startswith(("/sys", "/proc")) and os.path.isdir(p)]:
        done(libc.mount(path.encode(), path.encode(), None, MS_BIND, None), path)
        done(libc.mount(None, path.encode(), None, MS_BIND | MS_REMOUNT, None), f"{path} writable")


def main(path, *program):
    unit = settings(path)
    code = seccomp(unit)
    read_only(unit)
    keep = {c[4:].lower() for c in unit["CapabilityBoundingSet"][0].split()}
    assert keep <= set(CAPS), keep
    if unit["NoNewPrivileges"] == ["yes"]:
        done(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    for number, cap in enumerate(CAPS):
        if cap not in keep:
            done(libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), cap)
    filter_set(code)
    os.execv(program[0], program)


if __name__ == "__main__":
    main(*sys.argv[1:])
