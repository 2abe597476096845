# SPDX-License-Identifier: BSD-3-Clause
"""What the shop's services in Python have in common: http.server and http.client of the standard library, as anybody
would use them, a thread for each connection. Where a service is says the environment: SHOP_CART=10.7.0.2:8105."""
import http.client
import http.server
import json
import os
import socketserver
import threading


def address(name):
    host, port = os.environ["SHOP_" + name.upper()].rsplit(":", 1)
    return host, int(port)


class Refused(Exception):
    """An answer with another status than 200."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


mine = threading.local()  # connections of this thread, which are kept


def ask(name, method, path, body=None):
    """What another service answers, as Python has it. Refused, when it refuses."""
    kept = mine.__dict__.setdefault("kept", {})
    text = json.dumps(body) if body is not None else None
    for again in (name in kept, False):
        c = kept.get(name) or kept.setdefault(name, http.client.HTTPConnection(*address(name)))
        try:
            c.request(method, path, text)
            answer = c.getresponse()
            got = json.loads(answer.read())
        except (OSError, http.client.HTTPException) as e:
            kept.pop(name).close()
            # One that was silent may have been closed while we asked.
            if again and isinstance(e, (http.client.RemoteDisconnected, ConnectionError)):
                continue
            raise Refused(502, "a service does not answer") from None
        if answer.status != 200:
            raise Refused(answer.status, got["error"])
        return got


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # http.server's asks the network for a name of the address


def serve(name, answer):
    """answer(method, path, body) gives what is to be answered, or raises Refused."""
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_request(self):
            length = int(self.headers.get("Content-Length") or 0)
            try:
                body = json.loads(self.rfile.read(length)) if length else None
                status, got = 200, answer(self.command, self.path, body)
            except Refused as e:
                status, got = e.status, {"error": str(e)}
            except (KeyError, TypeError, ValueError):
                status, got = 400, {"error": "that makes no sense"}
            text = json.dumps(got, separators=(",", ":")).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_POST = do_DELETE = handle_request

        def log_message(self, *args):
            pass

    with Server(address(name), Handler) as s:
        print(f"{name} listens at {s.server_address[0]}:{s.server_address[1]}", flush=True)
        s.serve_forever()
