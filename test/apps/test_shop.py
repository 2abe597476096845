#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""examples/shop: services in C, Python and JavaScript that call each other over HTTP. They answer on Z-Stack what they
answer on the kernel; only what customers say and hear goes over the wire: test_shop.py [kernel]."""
import contextlib
import http.client
import json
import os
import re
import socket
import struct
import threading

import world
from world import LINUX4, ZS4, App, Near, build, case, check, sh, together, until

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "shop", "run")
GATEWAY = 8080
NAMES = {8080: "gateway", 8101: "catalogue", 8102: "stock", 8103: "price", 8104: "cart", 8105: "payment", 8106: "order"}
# Who asks whom.
CALLS = {("gateway", "catalogue"), ("gateway", "stock"), ("gateway", "price"), ("gateway", "cart"), ("gateway", "order"),
         ("cart", "catalogue"), ("cart", "price"), ("order", "cart"), ("order", "stock"), ("order", "price"),
         ("order", "payment")}

world.start("node", "python3")


def shop(how=App, *options, address=ZS4):
    """The shop, open: on Z-Stack beside zstackd, or (Near) on this namespace's kernel."""
    if how is App and not world.kernel:
        options = ("--service", world.socket_path, *options)
    else:
        options = ("--kernel", *options)
    here = {"line": ["env"]} if how is App else {}
    return how("bash", RUN, "--build", os.path.abspath(build), *options, address, ready="shop: open", **here)


class Customer:
    def __init__(self, address=ZS4):
        self.c = http.client.HTTPConnection(address, GATEWAY, timeout=20)

    def ask(self, method, where, body=None):
        self.c.request(method, where, json.dumps(body) if body is not None else None)
        a = self.c.getresponse()
        text = a.read().decode()
        return a.status, a.reason, a.getheader("Content-Type"), text

    def close(self):
        self.c.close()


# Everything that the shop can answer, its errors too.
REQUESTS = [
    ("GET", "/items"), ("GET", "/items/1"), ("GET", "/items/8"), ("GET", "/items/9"), ("GET", "/items/x"), ("GET", "/"),
    ("POST", "/items/1"), ("PUT", "/carts/ann", {"id": 3, "n": 2}), ("PUT", "/carts/ann", {"id": 7, "n": 12}),
    ("GET", "/carts/ann"), ("GET", "/carts/bob"), ("PUT", "/carts/ann", {"id": 99, "n": 1}),
    ("PUT", "/carts/ann", {"number": 1}), ("POST", "/carts/ann"), ("POST", "/orders/bob"), ("POST", "/orders/ann"),
    ("GET", "/orders/1"), ("GET", "/orders/2"), ("GET", "/carts/ann"), ("GET", "/items/7"),
    # Too little money: what was taken from the stock goes back.
    ("PUT", "/carts/eve", {"id": 1, "n": 50}), ("POST", "/orders/eve"), ("GET", "/items/1"), ("GET", "/carts/eve"),
    # Too little in stock, of the second item.
    ("PUT", "/carts/eve", {"id": 1, "n": 0}), ("PUT", "/carts/eve", {"id": 2, "n": 1}),
    ("PUT", "/carts/eve", {"id": 7, "n": 95}), ("POST", "/orders/eve"), ("GET", "/items/2"), ("GET", "/items/7"),
    ("DELETE", "/carts/eve"), ("GET", "/carts/eve"), ("PUT", "/carts/" + "x" * 300, {"id": 1, "n": 1}),
]


def answers(address):
    """A customer whose connection is closed, as after a request that is too long, takes another."""
    with contextlib.closing(Customer(address)) as c:
        return [c.ask(*r) for r in REQUESTS]


@case
def it_answers_as_on_the_kernel():
    with shop():
        ours = answers(ZS4)
    with shop(Near, address=LINUX4):
        kernels = answers(LINUX4)
    for r, ours_one, kernels_one in zip(REQUESTS, ours, kernels):
        check(ours_one == kernels_one, f"{r}: {ours_one}, on the kernel {kernels_one}")
    got = {status for status, *_ in ours}
    check(got == {200, 400, 402, 404, 405, 409, 413}, f"not everything was asked for: {got}")


def streams():
    """Established connections of zstackd's programs."""
    out = sh(f"{world.tool} --json --socket {world.socket_path} ss -a")
    return [s for s in map(json.loads, out.splitlines()) if s["state"] == "ESTABLISHED"]


def calls_by_link():
    """Which services' connections to which go over links, and which don't."""
    name = {s["app"]: NAMES[s["local_port"]] for s in streams() if s["local_port"] in NAMES}
    found = [((name.get(s["app"]), NAMES[s["peer_port"]]), "link" in s) for s in streams() if s["peer_port"] in NAMES]
    return {c for c, link in found if link}, {c for c, link in found if not link}


def buy(c, user, item):
    """Every service is asked."""
    for r in (("GET", f"/items/{item}"), ("PUT", f"/carts/{user}", {"id": item, "n": 1}), ("POST", f"/orders/{user}")):
        status, _, _, text = c.ask(*r)
        check(status == 200, f"{r}: {status} {text}")


@case
def services_are_joined_by_links():
    if world.kernel:
        raise world.Skip("links are Z-Stack's")
    with shop(), contextlib.closing(Customer()) as c:
        def all_of_them():
            buy(c, "ann", 8)
            return calls_by_link() == (CALLS, set())
        until("all services are joined by links", all_of_them)
        before = sum(s["link_in_bytes"] for s in streams() if "link" in s)
        buy(c, "ann", 8)
        after = sum(s["link_in_bytes"] for s in streams() if "link" in s)
        check(after - before > 1000, f"{after - before} bytes went over links")
        customer, = (s for s in streams() if s["local_port"] == GATEWAY)
        check("link" not in customer and customer["peer"] == LINUX4, customer)
        # The tool for people says it, too.
        check("link  ESTABLISHED" in sh(f"{world.tool} --socket {world.socket_path} ss"), "zstack ss shows no link")


class Wire:
    """Counts TCP frames by the port of the stack's side."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
        self.socket.bind((world.net.dev, 0))
        self.socket.settimeout(0.2)
        self.frames, self.ended = {}, False
        self.thread = threading.Thread(target=self.count, daemon=True)
        self.thread.start()

    def count(self):
        while not self.ended:
            with contextlib.suppress(TimeoutError):
                f = self.socket.recv(2048)
                if f[12:14] != b"\x08\x00" or f[23] != 6:
                    continue
                at = 14 + (f[14] & 15) * 4
                source, to = struct.unpack("!HH", f[at:at + 4])
                port = source if f[26:30] == socket.inet_aton(ZS4) else to
                self.frames[port] = self.frames.get(port, 0) + 1

    def stop(self):
        self.ended = True
        self.thread.join()
        self.socket.close()
        return self.frames


def sent_bytes():
    """By zstackd's port."""
    out = sh(f"{world.tool} --socket {world.socket_path} stat")
    return int(re.search(r"_tx_bytes +([0-9]+)", out)[1])


@case
def only_customers_are_on_the_wire():
    with shop():
        wire = Wire()

        def customer(n):
            with contextlib.closing(Customer()) as c:
                for i in range(20):
                    buy(c, f"user{n}", 1 + (n + i) % 8)
        together(4, customer)
        frames = wire.stop()
        check(set(frames) == {GATEWAY} and frames[GATEWAY] > 4 * 60, f"frames by port: {frames}")


@case
def a_customer_on_the_node_leaves_the_wire_alone():
    """The whole way of a request is within the node: not one byte is on the wire."""
    if world.kernel:
        raise world.Skip("the counters are Z-Stack's")
    with shop():
        url = f"http://{ZS4}:{GATEWAY}/items/3"
        world.far("curl", "-sSf", url)
        wire, before = Wire(), sent_bytes()
        out = world.far("curl", "-sSf", *[url] * 50)
        check(out.count('"chisel"') == 50, out[:300])
        check(sent_bytes() == before, f"{sent_bytes() - before} bytes went out")
        check(wire.stop() == {}, f"frames by port: {wire.frames}")


@case
def a_service_that_is_killed_closes_the_shop():
    """And zstackd goes on (the last case)."""
    s = shop()
    with contextlib.closing(Customer()) as c:
        buy(c, "ann", 1)
        sh(f"pkill -KILL -s {s.process.pid} shop_stock")
        check(s.wait(10) == 1 and "one of the services ended" in s.errors(), s.output() + s.errors())


world.finish()
