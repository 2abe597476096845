# SPDX-License-Identifier: BSD-3-Clause
"""Takes the money: POST /payments {"user": "ann", "cents": 1200}. Nobody has more than 1000.00 to spend at a time."""
import itertools

from service import Refused, serve

numbers = itertools.count(1)


def answer(method, path, body):
    if (method, path) != ("POST", "/payments"):
        raise Refused(404, "POST /payments")
    if body["cents"] > 100_000:
        raise Refused(402, "declined")
    return {"payment": next(numbers), "user": body["user"], "cents": body["cents"]}


serve("payment", answer)
