#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Threads of an unmodified program that do with sockets whatever comes (storm.c), children included: the program
ends by itself, the service serves on, and nothing of the program is left there. ZS_LONG=1: for minutes."""
import os
import subprocess
import tempfile

import peer
import peer_services
from peer import Net, case, check

program = os.path.join(peer.build, "test/apps/calls/storm")
library = os.path.abspath(os.path.join(peer.build, "src/preload/libzstack-preload.so.0"))
tool = os.path.join(peer.build, "tools/zstack")
seconds, runs = (10, 20) if os.environ.get("ZS_LONG") else (3, 2)
peer.start()
net = Net()
peer_services.start()
work = tempfile.TemporaryDirectory()
service = peer.Service(net, os.path.join(work.name, "zstackd.sock"))


@case
def whatever_comes():
    for seed in range(runs):
        p = subprocess.run([program, str(seconds), str(seed)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=seconds + 60, preexec_fn=net.go_far,
                           env={**os.environ, "LD_PRELOAD": library, "ZSTACK_SOCKET": service.path})
        check(service.alive(), f"seed {seed}: zstackd ended: {service.errors()[-2000:]}")
        check(p.returncode == 0, f"seed {seed}: ended with {p.returncode}: {p.stdout[-2000:]}")


@case
def nothing_of_it_is_left():
    listed = subprocess.run([tool, "--socket", service.path, "ss", "-l"], stdout=subprocess.PIPE, text=True).stdout
    check("storm" not in listed, listed)
    check(service.stop() == 0, service.errors()[-2000:])


peer.run(900)
