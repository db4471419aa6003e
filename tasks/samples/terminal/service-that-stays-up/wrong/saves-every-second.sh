#!/bin/bash
# Values reach the disk once a second: what was acknowledged in the last one is lost.
cat > /srv/kv/server.py <<'PY'
import os, pickle, re, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILE = "/srv/kv/store.pickle"
store = pickle.load(open(FILE, "rb")) if os.path.exists(FILE) else {}


class Handler(BaseHTTPRequestHandler):
    timeout = 20

    def handle_any(self):
        name = self.path[1:]
        length = self.headers.get("Content-Length", "0")
        body = self.rfile.read(int(length)) if length.isdigit() else b""
        status, answer = 404, b""
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            status = 400
        elif self.command == "PUT" and length.isdigit() and len(body) == int(length):
            store[name], status = body, 204
        elif self.command == "DELETE" and store.pop(name, None) is not None:
            status = 204
        elif self.command == "GET" and name in store:
            status, answer = 200, store[name]
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_DELETE = handle_any


def save():
    while True:
        time.sleep(1)
        with open(FILE + ".new", "wb") as file:
            pickle.dump(dict(store), file)
        os.replace(FILE + ".new", FILE)


threading.Thread(target=save, daemon=True).start()
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", 8100), Handler).serve_forever()
PY
setsid bash -c 'while true; do python3 /srv/kv/server.py; sleep 0.2; done' > /dev/null 2>&1 < /dev/null &
sleep 1
