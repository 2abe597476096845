#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Who may include whom (docs/design/001-seams.md). Exit 1 and one line per violation."""
import pathlib
import re
import sys

FOUNDATION = {"base", "wire", "pkt"}
MAY = {
    "base": {"base"},
    "wire": {"base", "wire"},
    "pkt": FOUNDATION,
    "eth": FOUNDATION | {"eth"},
    "ip": FOUNDATION | {"ip"},
    "udp": FOUNDATION | {"udp"},
    "tcp": FOUNDATION | {"tcp"},
    "chan": {"base", "chan"},
    "sock": FOUNDATION | {"ip", "udp", "tcp", "chan", "sock"},
    "dev": FOUNDATION | {"dev"},
    "stack": FOUNDATION | {"eth", "ip", "udp", "tcp", "chan", "sock", "dev", "stack"},
    "svc": FOUNDATION | {"chan", "dev", "sock", "stack", "svc"},
    "client": {"base", "chan", "client"},
    "preload": {"base", "chan", "client", "preload"},
}
PRIVATE = re.compile(r"_priv\.h$")

root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "src"
bad = 0
for f in sorted(root.rglob("*.[ch]")):
    room = f.relative_to(root).parts[0]
    if room not in MAY:
        print(f"{f}: room '{room}' is not in the table of {sys.argv[0]}")
        bad += 1
        continue
    for n, line in enumerate(f.read_text().splitlines(), 1):
        m = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
        if not m:
            continue
        quote, path = m.groups()
        top = path.split("/")[0]
        if path.startswith("rte_") and room not in ("dev",) and f.name != "pkt.h":
            print(f"{f}:{n}: only src/dev and src/pkt/pkt.h include DPDK: {path}")
            bad += 1
        if quote == '"' and "/" in path and top in MAY:
            if top not in MAY[room]:
                print(f"{f}:{n}: src/{room} may not know src/{top}: {path}")
                bad += 1
            elif top != room and PRIVATE.search(path):
                print(f"{f}:{n}: {path} is private to its room")
                bad += 1
print(f"layering: {bad} violations")
sys.exit(1 if bad else 0)
