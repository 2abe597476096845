#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An unmodified program whose service is not there, ends, or comes back (issue: bad input). Never a hang."""
import os
import pathlib
import subprocess
import tempfile
import time

import peer
import peer_services
from peer import LINUX4, ZS4, Net, case, check, connect

here = pathlib.Path(__file__).parent
library = os.path.abspath(os.path.join(peer.build, "src/preload/libzstack-preload.so.0"))
peer.start()
net = Net()
peer_services.start()
work = tempfile.TemporaryDirectory()
path = os.path.join(work.name, "zstackd.sock")


class Told:
    """gone.py, under the library."""

    def __init__(self):
        self.p = subprocess.Popen(["/usr/bin/python3", here / "gone.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, preexec_fn=net.go_far,
                                  env={**os.environ, "LD_PRELOAD": library, "ZSTACK_SOCKET": path})

    def do(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        return self.p.stdout.readline().strip()

    def expect(self, line, answer):
        got = self.do(line)
        check(got == answer, f"{line}: {got}, not {answer}")

    def end(self):
        self.p.stdin.close()
        self.p.wait(10)
        return self.p.stderr.read()


@case
def without_a_service_the_kernel_has_its_own_and_we_say_why():
    t = Told()
    t.expect(f"connect a {LINUX4} 9001", "ENETDOWN")
    t.expect(f"try b {LINUX4} 9001", "ENETDOWN")
    t.expect("listen c 8080", "ENETDOWN")
    t.expect("connect d 127.0.0.1 9", "ECONNREFUSED")
    said = t.end()
    check(said.count("zstack:") == 1 and "no service answers" in said and "ENETDOWN" in said, said)


@case
def a_service_that_comes_later_is_used():
    t = Told()
    t.expect(f"connect a {LINUX4} 9001", "ENETDOWN")
    with peer.Service(net, path):
        time.sleep(1.2)
        t.expect(f"connect a {LINUX4} 9001", "done")
        t.expect("send a hello", "5")
        t.expect("recv a", "b'hello'")
        t.end()


@case
def connections_are_reset_and_listeners_work_again():
    first = peer.Service(net, path)
    t = Told()
    t.expect("listen l 8080", "done")
    t.expect(f"connect a {LINUX4} 9001", "done")
    t.expect("send a hello", "5")
    t.expect("recv a", "b'hello'")
    first.process.kill()
    first.process.wait()
    t.expect("wait a", "True")
    t.expect("recv a", "ECONNRESET")
    t.expect(f"try b {LINUX4} 9001", "ENETDOWN")
    t.expect(f"connect b {LINUX4} 9001", "ENETDOWN")
    with peer.Service(net, path):
        end = time.monotonic() + 10
        while t.do(f"connect c {LINUX4} 9001") != "done":
            check(time.monotonic() < end, "no connection with the new service")
            time.sleep(0.1)
        t.expect("send c again", "5")
        t.expect("recv c", "b'again'")
        s = connect(ZS4, 8080)
        s.sendall(b"to the listener")
        t.expect("accept l s", "done")
        t.expect("recv s", "b'to the listener'")
        s.close()
        t.end()


peer.run(60)
