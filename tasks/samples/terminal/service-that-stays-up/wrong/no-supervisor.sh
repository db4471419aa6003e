#!/bin/bash
# A sound server that nobody starts again.
cat > /srv/kv/server.py <<'PY'
#!/usr/bin/env python3
"""A key-value store on 127.0.0.1:8100: a thread for each client, values in files that appear at once or not at all."""
import os
import re
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA = "/srv/kv/data"


class Handler(BaseHTTPRequestHandler):
    timeout = 20

    def place(self):
        name = self.path[1:]
        if re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            return os.path.join(DATA, f"value-{name}")
        self.answer(400)

    def answer(self, status, body=b""):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if place := self.place():
            try:
                with open(place, "rb") as file:
                    self.answer(200, file.read())
            except FileNotFoundError:
                self.answer(404)

    def do_PUT(self):
        if place := self.place():
            length = self.headers.get("Content-Length", "0")
            if not length.isdigit() or int(length) > 1 << 20:
                return self.answer(400)
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                return self.answer(400)
            fd, new = tempfile.mkstemp(dir=DATA, prefix=".new-")
            with open(fd, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(fd)
            os.replace(new, place)
            self.answer(204)

    def do_DELETE(self):
        if place := self.place():
            try:
                os.unlink(place)
                self.answer(204)
            except FileNotFoundError:
                self.answer(404)


os.makedirs(DATA, exist_ok=True)
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", 8100), Handler).serve_forever()
PY
nohup python3 /srv/kv/server.py > /srv/kv/kv.log 2>&1 < /dev/null &
sleep 1
