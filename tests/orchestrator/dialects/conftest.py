"""A live farm that speaks the dialects which a test module names as DIALECTS, and the real clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import docker
import pytest

from envfarm.trainers.client import Client

ROOT = Path(__file__).parents[3]
TASK = "terminal/makefile-only-works-twice"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`envfarm serve`, and relays before it whose connections can be cut; of `dialects`, those true get a port."""

    def __init__(self, data: Path, dialects: dict[str, bool]) -> None:
        self.data = data
        self.port = free_port()
        self.doors = {name: free_port() for name, door in dialects.items() if door}
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ENVFARM_")}
        self.environment = kept | {
            "ENVFARM_DATA": str(data),
            "ENVFARM_PORT": str(self.port),
            "ENVFARM_TOKENS": "farm,mine:mine,other:other",
            "ENVFARM_DIALECTS": ",".join(dialects),
            "ENVFARM_DIALECT_PORTS": ",".join(f"{name}={port}" for name, port in self.doors.items()),
            "ENVFARM_WARM": "0",
        }
        self.writers: list[asyncio.StreamWriter] = []

    def start(self) -> None:
        command = [sys.executable, "-m", "envfarm.orchestrator.cli", "serve"]
        self.process = subprocess.Popen(
            command, env=self.environment, cwd=self.data.parent, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def wait(self) -> None:
        """Wait until it listens: clients of other people's have no patience."""
        for port in (self.port, *self.doors.values()):
            for _ in range(1200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert self.process.poll() is None, "the server ended"
                time.sleep(0.1)
            else:
                raise AssertionError(f"nothing listens at port {port} after two minutes")

    def lose_sandboxes(self, engine: docker.DockerClient) -> None:
        """Remove the sandboxes under everybody's feet."""
        owner = (self.data / "server-id").read_text().strip()
        for container in engine.containers.list(all=True, filters={"label": f"envfarm.owner={owner}"}):
            with contextlib.suppress(docker.errors.APIError):  # one that is being removed
                container.remove(force=True)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @asynccontextmanager
    async def relayed(self, port: int) -> AsyncIterator[str]:
        """The URL of a relay to a port."""
        relay = await asyncio.start_server(lambda *ends: self.relay(port, *ends), "127.0.0.1", 0)
        async with relay:
            yield f"http://127.0.0.1:{relay.sockets[0].getsockname()[1]}"
            self.cut()

    async def relay(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        self.writers += [writer, back]
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self.copy(reader, back), self.copy(there, writer))

    async def copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
        target.close()

    def cut(self) -> None:
        """Break every connection."""
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    docker_base: str,
    engine: docker.DockerClient,
) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("dialects") / "data", request.module.DIALECTS)
    server.start()
    server.wait()
    yield server
    server.process.terminate()
    server.process.wait(30)
    server.lose_sandboxes(engine)


@pytest.fixture
async def farm(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url, token="farm", patience=60) as client:
        yield client


@pytest.fixture
def begin(farm: Client) -> Callable[[], Awaitable[str]]:
    """Create an episode."""

    async def begin() -> str:
        [episode] = await farm.create(TASK, run="mine")
        return str(episode["id"])

    return begin


@pytest.fixture
def begun(farm: Client) -> Callable[..., Awaitable[None]]:
    """Wait until a step of an episode runs."""

    async def begun(id: str, turn: int = 0) -> None:
        async with asyncio.timeout(120):
            while True:
                view = await farm.episode(id, wait=5)
                steps = [one async for one in farm.steps(id)]
                if view["state"] == "running" and len(steps) > turn:
                    return
                await asyncio.sleep(0.1)

    return begun


@pytest.fixture(scope="session")
def client_python() -> Callable[[str], Path]:
    """The Python of the virtual environment that has a client."""

    def python(name: str) -> Path:
        subprocess.run([ROOT / "scripts/trainers.sh", name], check=True, stdin=subprocess.DEVNULL)
        return ROOT / ".cache/trainers" / name / "bin/python"

    return python
