import http.client
import os
import random
import secrets
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, "/tests")
from harness import check, main, run  # noqa: E402

PORT = 8100
# Who listens on the port, told by a process of the service's own user: root may not look into others' files here.
LISTENER = """
import os
inodes = {line.split()[9] for table in ("tcp", "tcp6") for line in open(f"/proc/net/{table}").readlines()[1:]
          if line.split()[1].endswith(":%04X" % 8100) and line.split()[3] == "0A"}
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        continue
    if any(f"socket:[{inode}]" in links for inode in inodes):
        print(pid)
"""


def ask(method, name, body=None, timeout=3):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=timeout)
    try:
        connection.request(method, f"/{name}", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def fresh():
    return f"k-{secrets.token_hex(6)}", random.randbytes(random.randrange(1, 4000))


def kill_listeners():
    pids = []
    for _ in range(5):  # /proc/net/tcp can lack a line while connections come and go
        _, out, _ = run(["python3", "-I", "-c", LISTENER], user="web", group="web")
        pids = [int(pid) for pid in out.split()]
        if pids:
            break
    assert pids, f"nobody listens on port {PORT}"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return pids


def wait_until_back(seconds=8.0):  # more than the three that were asked for: this machine may be busy
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask("GET", "no-such-name", timeout=2)
        except OSError:
            assert time.monotonic() < deadline, f"not back within {seconds} s"
            time.sleep(0.05)


@check
def answers_as_documented():
    name, body = fresh()
    assert ask("GET", name)[0] == 404
    assert ask("PUT", name, body)[0] == 204
    assert ask("GET", name) == (200, body)
    assert ask("PUT", name, b"")[0] == 204
    assert ask("GET", name) == (200, b"")
    big = random.randbytes(1_000_000)
    assert ask("PUT", name, big)[0] == 204
    assert ask("GET", name) == (200, big)
    assert ask("DELETE", name)[0] == 204
    assert ask("DELETE", name)[0] == 404
    assert ask("GET", "a/b")[0] == 400
    assert ask("GET", "..%2fserver.py")[0] == 400


@check
def survives_rude_clients():
    name, body = fresh()
    assert ask("PUT", name, body)[0] == 204
    rubbish = [
        b"", b"\r\n\r\n", b"\xff\xfe\x00 rubbish\r\n\r\n", b"GET\r\n\r\n", b"PUT /x HTTP/1.1\r\nContent-Length: 50\r\n\r\nshort",
        b"PUT /x HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"PUT /x HTTP/1.1\r\nContent-Length: abc\r\n\r\n", b"A" * 100_000,
    ]  # fmt: skip
    for text in rubbish:
        for reset in (False, True):
            with socket.create_connection(("127.0.0.1", PORT), timeout=3) as client:
                if reset:  # closed like this the other side gets a connection reset
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                try:
                    client.sendall(text)
                except OSError:
                    pass
        wait_until_back(4.0)
    assert ask("GET", name) == (200, body)


@check
def a_silent_client_holds_up_nobody():
    silent = [socket.create_connection(("127.0.0.1", PORT), timeout=3) for _ in range(20)]
    try:
        for client in silent[:10]:
            client.sendall(b"PUT /slow HTTP/1.1\r\nContent-Length: 10\r\n\r\nab")
        name, body = fresh()
        assert ask("PUT", name, body)[0] == 204
        assert ask("GET", name) == (200, body)
    finally:
        for client in silent:
            client.close()


@check
def comes_back_with_its_values():
    kept = dict(fresh() for _ in range(5))
    for name, body in kept.items():
        assert ask("PUT", name, body)[0] == 204
    gone = sorted(kept)[0]
    for _ in range(2):
        kill_listeners()
        wait_until_back()
        last, body = fresh()
        assert ask("PUT", last, body)[0] == 204
        kept[last] = body
    assert ask("DELETE", gone)[0] == 204
    del kept[gone]
    kill_listeners()
    wait_until_back()
    assert ask("GET", gone)[0] == 404
    for name, body in kept.items():
        assert ask("GET", name) == (200, body)


@check
def loses_nothing_when_killed_at_work():
    acknowledged, stop = {}, threading.Event()

    def write():
        while not stop.is_set():
            name, body = fresh()
            try:
                if ask("PUT", name, body)[0] == 204:
                    acknowledged[name] = body
            except OSError:
                time.sleep(0.02)
            except http.client.HTTPException:
                pass

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(2):
            time.sleep(0.2)
            wait_until_back()
            kill_listeners()
            wait_until_back()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert len(acknowledged) > 20
    for name, body in acknowledged.items():
        assert ask("GET", name) == (200, body), name


main()
