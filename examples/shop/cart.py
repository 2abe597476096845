# SPDX-License-Identifier: BSD-3-Clause
"""What each customer wants to buy: GET /carts/USER, PUT /carts/USER {"id": 3, "n": 2}, DELETE /carts/USER."""
import threading

from service import Refused, ask, serve

lock = threading.Lock()
carts = {}


def change(user, wish):
    item, n = int(wish["id"]), int(wish["n"])
    ask("catalogue", "GET", f"/items/{item}")  # is there such a thing?
    with lock:
        cart = carts.setdefault(user, {})
        cart[item] = n
        if n <= 0:
            del cart[item]


def answer(method, path, body):
    _, where, user = path.split("/")
    if where != "carts":
        raise Refused(404, "no such page")
    if method == "PUT":
        change(user, body)
    elif method == "DELETE":
        with lock:
            carts.pop(user, None)
    elif method != "GET":
        raise Refused(405, "GET, PUT or DELETE")
    with lock:
        lines = [{"id": k, "n": n} for k, n in sorted(carts.get(user, {}).items())]
    return {"user": user, "lines": lines, "cents": ask("price", "POST", "/total", lines)["cents"] if lines else 0}


serve("cart", answer)
