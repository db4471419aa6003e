#!/usr/bin/env python3
"""A key-value store on 127.0.0.1:8100."""
import re
import socket

store = {}

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", 8100))
listener.listen()

while True:
    client, _ = listener.accept()
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(1024)
    head, body = head.split(b"\r\n\r\n", 1)
    method, path, _ = head.decode().split("\r\n")[0].split(" ")
    length = re.search(rb"content-length: *(\d+)", head, re.I)
    while length and len(body) < int(length[1]):
        body += client.recv(1024)
    name = path[1:]
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    elif method == "PUT":
        store[name] = body
        answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    elif method == "DELETE":
        answer = b"HTTP/1.1 204 No Content\r\n\r\n" if store.pop(name, None) is not None else b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    elif name in store:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(store[name]) + store[name]
    else:
        answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    client.sendall(answer)
    client.close()
