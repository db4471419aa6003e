"""A person's terminal, or a script on standard input, in a running container."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
from docker.utils.socket import frames_iter

from envfarm.toolbox.sandboxes.docker import DockerSandbox

_SHELL = """
unset ENVFARM
id=$(id -u)
if [ "$id" != 0 ]; then
  while IFS=: read -r name _ number _ _ home _; do
    if [ "$number" = "$id" ]; then export HOME="${home:-/}" USER="$name" LOGNAME="$name"; break; fi
  done </etc/passwd
fi
cd -- "$1" 2>/dev/null || cd /
if command -v bash >/dev/null; then exec bash; else exec sh; fi
"""
"""Where the agent's own shell is: its user's home, its working directory, without the farm's program."""
_CHUNK = 65536


def interact(url: str | None, sandbox: DockerSandbox) -> None:
    """Connect standard input and output to a shell in a sandbox, where its agent would be, until that shell ends."""
    client = docker.DockerClient(base_url=url) if url else docker.from_env()
    interactive = sys.stdin.isatty()
    try:
        created = client.api.exec_create(
            sandbox.id,
            ["sh", "-c", _SHELL, "sh", sandbox.defaults.workdir],
            stdin=True,
            tty=interactive,
            user=sandbox.defaults.user or "",
            environment={"TERM": os.environ.get("TERM", "xterm")} if interactive else {},
        )
        stream = client.api.exec_start(created["Id"], tty=interactive, socket=True)
        raw: Any = getattr(stream, "_sock", stream)
        if interactive:
            with _raw_terminal(), _follows_size(client, created["Id"]):
                _pump(raw)
        else:
            _feed(raw)
            _drain(stream)
        stream.close()
    finally:
        client.close()


def _pump(raw: socket.socket) -> None:
    """Between a terminal and a shell with one, byte by byte."""
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    while True:
        ready, _, _ = select.select([stdin, raw], [], [])
        if raw in ready:
            data = raw.recv(_CHUNK)
            if not data:
                return
            os.write(stdout, data)
        if stdin in ready:
            raw.sendall(os.read(stdin, _CHUNK))


def _feed(raw: socket.socket) -> None:
    """The whole of a script that is not typed, then its end."""
    while data := sys.stdin.buffer.read(_CHUNK):
        raw.sendall(data)
    raw.shutdown(socket.SHUT_WR)


def _drain(stream: Any) -> None:
    for channel, data in frames_iter(stream, tty=False):  # type: ignore[no-untyped-call]
        out = sys.stderr if channel == 2 else sys.stdout
        out.buffer.write(data)
        out.buffer.flush()


@contextmanager
def _raw_terminal() -> Iterator[None]:
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSADRAIN)  # what was typed already counts
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def _follows_size(client: docker.DockerClient, exec_id: str) -> Iterator[None]:
    """Tells the container's terminal how large ours is, now and whenever that changes."""

    def resize(*_: object) -> None:
        rows, columns, _x, _y = struct.unpack("HHHH", fcntl.ioctl(sys.stdin.fileno(), termios.TIOCGWINSZ, b"\0" * 8))
        client.api.exec_resize(exec_id, height=rows, width=columns)

    resize()
    before = signal.signal(signal.SIGWINCH, resize)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
