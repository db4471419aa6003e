"""A stream that breaks while the container lives: the running command goes on and its result is whole."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from envfarm.toolbox.sandboxes.base import Limits, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend, DockerSandbox
from envfarm.toolbox.sandboxes.stream import Reader

from .conftest import OWNER

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Relay:
    """A way to the engine, by TCP, that can be cut; `left` bytes go to it until it cuts itself."""

    def __init__(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.left: int | None = None

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks)

    def cut(self) -> None:
        self.left = None
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection("/var/run/docker.sock")
        self._writers |= {writer, back}
        pumps = {asyncio.create_task(self._pump(reader, back)), asyncio.create_task(self._pump(there, writer))}
        self._tasks |= pumps
        await asyncio.wait(pumps)
        self._writers -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if self.left is not None and (rest := self.left - len(data)) <= 0:
                    writer.write(data[:rest] if rest else data)
                    self.cut()
                    return
                if self.left is not None:
                    self.left -= len(data)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay() -> AsyncIterator[Relay]:
    """A way to the engine."""
    async with Relay() as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["base", "busybox", "dash"])
async def sandbox(
    request: pytest.FixtureRequest, relay: Relay, docker_base: str, docker_busybox: str, docker_dash: str
) -> AsyncIterator[DockerSandbox]:
    """A container behind the relay, for each kind of shell."""
    image = {"base": docker_base, "busybox": docker_busybox, "dash": docker_dash}[request.param]
    backend = DockerBackend(relay.url)
    spec = SandboxSpec(image=image, limits=Limits(memory_mb=512))
    started = await backend.start(spec, owner=OWNER, lease="rejoin")
    assert isinstance(started, DockerSandbox)
    yield started
    await started.close()
    await backend.close()


async def test_idle(sandbox: DockerSandbox, relay: Relay) -> None:
    await sandbox.run("cd /proc; export KEPT=yes", session="idle")
    for _ in range(3):
        relay.cut()
        result = await sandbox.run('echo "$PWD $KEPT"; echo err >&2; exit 3', session="idle")
        assert (result.exit_code, result.stdout, result.stderr) == (3, b"/proc yes\n", b"err\n")


@pytest.mark.parametrize("session", [None, "output"])
async def test_in_mid_output(sandbox: DockerSandbox, relay: Relay, session: str | None) -> None:
    command = "echo once >>/tmp/once; for i in 1 2 3 4 5 6 7 8 9; do seq 2000; seq 9 >&2; sleep 0.1; done; exit 7"
    before = sandbox.shell.outages
    call = asyncio.create_task(sandbox.run(command, session=session))
    for _ in range(2):
        await asyncio.sleep(0.3)
        relay.cut()
    result = await call
    assert sandbox.shell.outages > before
    assert (result.exit_code, result.truncated) == (7, False)
    assert result.stdout == b"".join(b"%d\n" % i for i in range(1, 2001)) * 9
    assert result.stderr == b"1\n2\n3\n4\n5\n6\n7\n8\n9\n" * 9
    assert (await sandbox.run("cat /tmp/once; rm /tmp/once")).stdout == b"once\n"


@pytest.mark.parametrize("at", [10, 150, 300, 1_000, 700_000, 2_900_000])
async def test_in_mid_input(sandbox: DockerSandbox, relay: Relay, at: int) -> None:
    data = random.Random(at).randbytes(3_000_000)
    relay.left = at
    result = await sandbox.run("echo once >>/tmp/once; md5sum", stdin=data, session="input", timeout=120)
    relay.left = None
    assert result.stdout.split()[0].decode() == hashlib.md5(data).hexdigest()
    assert (await sandbox.run("cat /tmp/once; rm /tmp/once")).stdout == b"once\n"


async def test_a_frame_of_an_earlier_era_is_not_run(sandbox: DockerSandbox, relay: Relay) -> None:
    await sandbox.run("true")
    shell = sandbox.shell
    late = [shell.frame("run", shell.token(), b"echo late >/tmp/late\n"), shell.frame("kill", shell.token())]
    relay.cut()
    call = asyncio.create_task(sandbox.run("sleep 1.5; cat /tmp/late; echo end"))
    await asyncio.sleep(1)
    assert shell.wire is not None
    shell.wire.write(b"".join(late))
    assert (await call).stdout == b"end\n"


def reader(*pieces: bytes) -> Reader:
    made = Reader()
    made.authentic = lambda token: True
    for piece in pieces:
        made.feed(1, piece)
    return made


MARK = b"\x1eef:" + b"1" * 24 + b":a:\n"


async def test_what_a_log_has_beyond_the_stream() -> None:
    assert reader(b"before" + MARK + b"12\r", b"\n34").beyond(1, b"x" + MARK + b"12\r\n3456", drops_cr=False) == b"56"
    assert reader(b"before" + MARK + b"12\r", b"\n34").beyond(1, b"x" + MARK + b"12\n3456", drops_cr=True) == b"56"
    assert reader(MARK + MARK + b"12").beyond(1, MARK + MARK + b"123", drops_cr=False) == b"3"
    assert reader(MARK + b"12").beyond(1, b"123", drops_cr=False) is None


async def test_a_log_that_lost_the_marker_is_known_by_its_bytes() -> None:
    data = random.Random(1).randbytes(5000)
    assert reader(MARK, data[:4000]).beyond(1, data[2000:], drops_cr=False) == data[4000:]
    assert reader(MARK, b"y\n" * 2000).beyond(1, b"y\n" * 1000, drops_cr=False) is None
