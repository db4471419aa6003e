"""A server that is told to stop ends its steps and begins nothing; a rolling restart under load loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import docker
import pytest

from envfarm.orchestrator.farm.farm import Farm
from envfarm.trainers.client import Client

Api = Any  # conftest.Api; tests are no package


class TestInOneProcess:
    @pytest.fixture(params=["sqlite"])
    def database(self, tmp_path: Path) -> str:
        return f"sqlite+aiosqlite:///{tmp_path}/envfarm.db"

    async def test_steps_end_and_nothing_begins(self, api: Api, farm: Farm, backend: Any) -> None:
        busy, idle = await api.running(), await api.running()
        backend.latency = 0.5
        step = asyncio.create_task(api.step(busy, "echo 1 > /mark"))
        await asyncio.sleep(0.1)
        drain = asyncio.create_task(farm.drain(30))
        await asyncio.sleep(0)
        ready = await api.get("/ready")
        assert (ready.status, ready.json["checks"]["server"]) == (503, "it is about to stop")
        for refused in (
            await api.post("/v1/episodes", {"task_id": "toy/one"}),
            await api.step(idle, "true"),
            await api.post(f"/v1/episodes/{idle}/fork", {}),
        ):
            assert (refused.status, refused.error["retryable"]) == (503, True)
            assert (refused.headers["Retry-After"], refused.headers["Connection"]) == ("1", "close")
        assert not drain.done()
        assert (await step).json["results"][0]["exit_code"] == 0
        await drain
        assert (await api.step(busy, "echo 1 > /mark")).status == 200  # asked again, it is answered
        assert (await api.get("/health")).status == 200

    async def test_it_waits_no_longer_than_it_may(self, api: Api, farm: Farm, backend: Any) -> None:
        id = await api.running()
        backend.latency = 3600
        step = asyncio.create_task(api.step(id, "true"))
        await asyncio.sleep(0.1)
        await farm.drain(0.1)
        await api.runner.cleanup()
        cut = await step
        assert (cut.status, cut.error["retryable"], cut.headers["Retry-After"]) == (503, True, "5")

    async def test_a_step_that_waits_for_its_sandbox_holds_up_nothing(self, api: Api, farm: Farm, backend: Any) -> None:
        backend.start_seconds = 3600
        [episode] = await api.create()
        step = asyncio.create_task(api.step(episode["id"], "true"))
        await asyncio.sleep(0.1)
        await farm.drain(3600)
        await api.runner.cleanup()
        assert (await step).status == 503


class Server:
    """`envfarm serve` as one of several on a database, with a folder of its own."""

    def __init__(self, folder: Path, name: str, port: int, database: str) -> None:
        self.data = folder / name
        self.port = port
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ENVFARM_")},
            "ENVFARM_DATA": str(self.data),
            "ENVFARM_ARTIFACTS": str(folder / "artifacts"),
            "ENVFARM_DATABASE": database.replace("+asyncpg", ""),
            "ENVFARM_TASKS": str(folder / "tasks"),
            "ENVFARM_SAMPLES": "false",
            "ENVFARM_PORT": str(port),
            "ENVFARM_ADVERTISE": f"http://127.0.0.1:{port}",
            "ENVFARM_TAKEOVER": "true",
            "ENVFARM_TAKEOVER_SECONDS": "10",
            "ENVFARM_WARM": "0",
            "ENVFARM_MAX_TURNS": "100000",
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, without waiting."""
        command = [sys.executable, "-m", "envfarm.orchestrator.cli", "serve"]
        self.process = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL)

    async def ready(self) -> None:
        """Start it, and wait until it is ready."""
        self.start()
        assert self.process is not None
        async with aiohttp.ClientSession() as session:
            while True:
                assert self.process.poll() is None
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/ready") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)

    async def end(self, number: signal.Signals) -> int:
        """Send it a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 60)


@contextlib.asynccontextmanager
async def balancer(servers: list[Server]) -> AsyncIterator[str]:
    """The URL of what a Service is in a cluster: each connection goes to the next server that takes it."""
    turn = 0

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        for _ in servers:
            turn += 1
            with contextlib.suppress(OSError):
                there = await asyncio.open_connection("127.0.0.1", servers[turn % len(servers)].port)
                await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
                return
        writer.close()

    service = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}"
    finally:
        service.close()


class TestSeveralServers:
    @pytest.fixture
    def servers(self, tmp_path: Path, shared_database: str, docker_base: str, engine: Any) -> Iterator[list[Server]]:
        folder = tmp_path / "tasks" / "roll" / "plain"
        (folder / "environment").mkdir(parents=True)
        (folder / "tests").mkdir()
        (folder / "task.toml").write_text(f'[environment]\ndocker_image = "{docker_base}"\nworkdir = "/root"\n')
        (folder / "instruction.md").write_text("Make /root/mark.\n")
        score = "if [ -f /root/mark ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n"
        (folder / "tests" / "test.sh").write_text(f"#!/bin/sh\n{score}")
        with contextlib.ExitStack() as stack:
            ports = [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(3)]
        servers = [Server(tmp_path, f"server-{n}", port, shared_database) for n, port in enumerate(ports)]
        yield servers
        for server in servers:
            if server.process is not None and server.process.poll() is None:
                server.process.kill()
                server.process.wait()
        _remove(engine, servers)

    async def test_a_rolling_restart_loses_no_episode_and_runs_no_step_twice(
        self, servers: list[Server], engine: docker.DockerClient
    ) -> None:
        await servers[0].ready()  # the first one makes the tables
        await asyncio.gather(*(server.ready() for server in servers[1:]))
        rolled = asyncio.Event()
        async with balancer(servers) as url:
            trainers = [asyncio.create_task(_train(url, f"run-{number}", rolled)) for number in range(4)]
            for server in servers:
                assert await server.end(signal.SIGTERM) == 0
                await server.ready()
            await servers[0].end(signal.SIGKILL)
            rolled.set()
            for run, counted, steps, reward in await asyncio.gather(*trainers):
                assert counted == [str(number) for number in range(steps)], run
                assert reward["value"] == 1.0, (run, reward)
        owners = {(server.data / "server-id").read_text().strip() for server in servers}
        left = engine.containers.list(all=True, filters={"label": "envfarm.owner"})
        ours = [one.labels["envfarm.lease"] for one in left if one.labels["envfarm.owner"] in owners]
        assert [lease for lease in ours if lease != "warm"] == []

    async def test_a_server_that_was_frozen_harms_nothing_when_it_wakes(self, servers: list[Server]) -> None:
        frozen, other, _ = servers
        await frozen.ready()
        await other.ready()
        async with Client(frozen.url, patience=120) as first, Client(other.url, patience=120) as second:
            [episode] = await first.create("roll/plain")
            id = episode["id"]
            await second.step(id, _bash("echo 0 >> /root/count"))
            slow = asyncio.create_task(
                second.step(id, _bash("sleep 1; echo 1 >> /root/count", "echo 2 >> /root/count"))
            )
            await asyncio.sleep(0.5)  # in its first call
            assert frozen.process is not None
            frozen.process.send_signal(signal.SIGSTOP)
            assert len((await slow)["results"]) == 2  # taken over, without its caller noticing
            await second.step(id, _bash("echo 3 >> /root/count"))
            frozen.process.send_signal(signal.SIGCONT)
            await first.step(id, _bash("echo 4 >> /root/count"))
            [mine] = await first.create("roll/plain")
            assert (await second.step(mine["id"], _bash("echo new")))["results"][0]["content"] == "new\n"
            answer = await second.step(id, _bash("cat /root/count; touch /root/mark"))
            assert answer["results"][0]["content"].split() == ["0", "1", "2", "3", "4"]
            await first.finish(id)
            assert (await second.wait_reward(id))["value"] == 1.0
            await second.cancel(mine["id"])
        assert await frozen.end(signal.SIGTERM) == 0


async def _train(url: str, run: str, rolled: asyncio.Event) -> tuple[str, list[str], int, dict[str, Any]]:
    """Step in one episode until everything was restarted; what the sandbox counted, how many it was, the reward."""
    async with Client(url, run=run, patience=120) as client:
        [episode] = await client.create("roll/plain", key=run)
        id, steps = episode["id"], 0
        done = False
        while not done:
            done = rolled.is_set()  # and then one step more, for which a dead server must be missed first
            command = f"echo {steps} >> /root/count; sleep 0.2; echo {steps}"
            answer = await client.step(id, _bash(command), step_id=f"s{steps}", turn=steps)
            assert [one["content"] for one in answer["results"]] == [f"{steps}\n"]
            steps += 1
        answer = await client.step(id, _bash("touch /root/mark; cat /root/count"))
        await client.finish(id)
        return run, answer["results"][0]["content"].split(), steps, await client.wait_reward(id)


def _bash(*commands: str) -> list[dict[str, Any]]:
    return [{"name": "bash", "arguments": {"command": command}} for command in commands]


def _remove(engine: docker.DockerClient, servers: list[Server]) -> None:
    for server in servers:
        if (named := server.data / "server-id").exists():
            label = f"envfarm.owner={named.read_text().strip()}"
            for container in engine.containers.list(all=True, filters={"label": label}):
                container.remove(force=True)
