"""`kill -9` of a real server on Docker, in every state: nothing is lost, nothing runs twice, rewards arrive."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from envfarm.trainers.client import Client

HEALTHCHECK = '[environment.healthcheck]\ncommand = "sleep 2"\n'
TASKS = {
    "plain": ("", "sleep 0\n"),
    "slow-start": (HEALTHCHECK, "sleep 0\n"),
    "slow-score": ("", "sleep 3\n"),
    "boxed": ('[envfarm]\nisolation = "gvisor"\n', "sleep 0\n"),
}
SCORE = "if [ -f /root/mark ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n"


class Server:
    """`envfarm serve` in a process group of its own, on one data folder and one port."""

    def __init__(self, data: Path, tasks: Path) -> None:
        self.data = data
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ENVFARM_")},
            "ENVFARM_DATA": str(data),
            "ENVFARM_TASKS": str(tasks),
            "ENVFARM_SAMPLES": "false",
            "ENVFARM_PORT": str(self.port),
            "ENVFARM_CAPACITY": "2",
            "ENVFARM_WARM": "0",
            "ENVFARM_STEP_TIMEOUT": "30",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "envfarm.orchestrator.cli", "serve"],
            env=self.environment,
            cwd=self.data.parent,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.port}", patience=60)

    async def read(self, query: str) -> list[Any]:
        return self.rows(query)

    @property
    def owner(self) -> str:
        return (self.data / "server-id").read_text().strip()

    def rows(self, query: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.data / "envfarm.db", timeout=10)) as database:
            return database.execute(query).fetchall()


@pytest.fixture
def database() -> str | None:
    """None: the server's own SQLite file."""
    return None


@pytest.fixture
def docker_url() -> str | None:
    """None: the usual engine."""
    return None


@pytest.fixture
def server(
    tmp_path: Path, docker_base: str, engine: docker.DockerClient, database: str | None, docker_url: str | None
) -> Iterator[Server]:
    for name, (more, test) in TASKS.items():
        folder = tmp_path / "tasks" / "kill" / name
        (folder / "environment").mkdir(parents=True)
        (folder / "tests").mkdir()
        (folder / "task.toml").write_text(f'[environment]\ndocker_image = "{docker_base}"\nworkdir = "/root"\n{more}')
        (folder / "instruction.md").write_text("Make /root/mark.\n")
        (folder / "tests" / "test.sh").write_text(f"#!/bin/sh\n{test}{SCORE}")
    server = Server(tmp_path / "data", tmp_path / "tasks")
    if database is not None:
        server.environment["ENVFARM_DATABASE"] = database.replace("+asyncpg", "")
    if docker_url is not None:
        server.environment["DOCKER_HOST"] = docker_url
    server.start()
    yield server
    owner = server.owner
    if server.process is not None:
        server.process.terminate()
        server.process.wait(30)
    leaked = engine.containers.list(all=True, filters={"label": f"envfarm.owner={owner}"})
    for container in leaked:
        container.remove(force=True)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with server.client() as client:
        yield client


async def until(look: Callable[[], Awaitable[Any]], good: Callable[[Any], bool], timeout: float = 30) -> None:
    async with asyncio.timeout(timeout):
        while not good(await look()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)


async def begin(client: Client, task: str = "plain", state: str = "running") -> str:
    [episode] = await client.create(f"kill/{task}")
    id = str(episode["id"])
    await until(lambda: client.episode(id), lambda view: view["state"] == state)
    return id


def calls(*commands: str) -> list[dict[str, Any]]:
    return [{"name": "bash", "arguments": {"command": command}} for command in commands]


async def step(client: Client, id: str, step_id: str, *commands: str) -> list[str]:
    """What each call printed."""
    answer = await client.step(id, calls(*commands), step_id=step_id)
    return [result["content"] for result in answer["results"]]


async def score(client: Client, id: str, step_id: str = "end") -> dict[str, Any]:
    await client.step(id, [{"name": "finish", "arguments": {}}], step_id=step_id)
    return await client.wait_reward(id)


async def test_while_it_idles(server: Server, client: Client) -> None:
    id = await begin(client)
    command = "cd /tmp; export COLOUR=red; echo 1 >> /root/count; touch /root/mark"
    first = await client.step(id, calls(command), step_id="a")
    server.restart()
    assert await client.step(id, calls(command), step_id="a") == first
    assert await step(client, id, "b", "pwd; echo $COLOUR; cat /root/count") == ["/tmp\nred\n1\n"]
    assert (await score(client, id))["value"] == 1.0


async def test_while_one_is_queued(server: Server, client: Client) -> None:
    running = [await begin(client) for _ in range(2)]
    queued = await begin(client, state="queued")
    server.restart()
    assert (await client.episode(queued))["state"] == "queued"
    await client.cancel(running[0])
    assert await step(client, queued, "a", "touch /root/mark; echo ok") == ["ok\n"]
    assert (await score(client, queued))["value"] == 1.0
    assert (await score(client, running[1]))["value"] == 0.0


async def test_while_one_starts(server: Server, client: Client, engine: docker.DockerClient) -> None:
    id = await begin(client, "slow-start", "starting")
    pending = asyncio.create_task(client.step(id, calls("echo 1 >> /root/count; cat /root/count"), step_id="a"))
    await asyncio.sleep(0.5)
    server.restart()
    assert (await pending)["results"][0]["content"] == "1\n"
    assert (await client.episode(id))["state"] == "running"
    containers = engine.containers.list(filters={"label": f"envfarm.owner={server.owner}"})
    assert len(containers) == 1  # that of the first start was ended
    assert (await score(client, id))["value"] == 0.0


async def test_in_mid_step(server: Server, client: Client) -> None:
    id = await begin(client)
    command = "echo begun >> /root/count; sleep 3; echo ended >> /root/count; echo said"
    pending = asyncio.create_task(client.step(id, calls(command), step_id="a"))
    await asyncio.sleep(1)
    server.restart()
    answer = await pending
    assert answer["results"][0]["content"] == "said\n"
    assert await step(client, id, "b", "cat /root/count; touch /root/mark") == ["begun\nended\n"]
    assert (await score(client, id))["value"] == 1.0


class TestOnPostgreSQL:
    @pytest.fixture
    def database(self, shared_database: str) -> str:
        return shared_database

    async def test_in_mid_step(self, server: Server, client: Client) -> None:
        await test_in_mid_step(server, client)


async def test_in_mid_step_that_nobody_sends_again(server: Server, client: Client) -> None:
    id = await begin(client)
    command = "echo begun >> /root/count; sleep 2; echo ended >> /root/count; echo said"
    caller = asyncio.create_task(client.step(id, calls(command), step_id="a"))
    await asyncio.sleep(0.5)
    caller.cancel()
    server.restart()
    await until(lambda: client.episode(id), lambda view: view["turn"] == 1)
    [recorded] = [one async for one in client.steps(id)]
    assert recorded["results"][0]["content"] == "said\n"
    assert await step(client, id, "b", "cat /root/count") == ["begun\nended\n"]


@pytest.mark.parametrize("seed", range(3))
async def test_between_the_calls_of_one_step(server: Server, client: Client, seed: int) -> None:
    id = await begin(client)
    commands = [f"sleep 0.01; echo {number} >> /root/count; echo {number}" for number in range(100)]
    pending = asyncio.create_task(client.step(id, calls(*commands), step_id="a"))
    await until(lambda: server.read("SELECT 1 FROM steps WHERE results IS NOT NULL"), bool)
    await asyncio.sleep(random.Random(seed).random() * 0.3)
    server.kill()
    assert server.rows("SELECT finished_at FROM steps") == [(None,)]
    server.start()
    answer = await pending
    assert [result["content"] for result in answer["results"]] == [f"{number}\n" for number in range(100)]
    [content] = await step(client, id, "b", "cat /root/count")
    assert content.split() == [str(number) for number in range(100)]


async def test_while_it_collects(server: Server, client: Client) -> None:
    id = await begin(client)
    await step(client, id, "a", "head -c 200000000 /dev/urandom > /root/big; touch /root/mark; echo ok")
    pending = asyncio.create_task(client.step(id, [{"name": "finish", "arguments": {}}], step_id="end"))
    await until(lambda: server.read("SELECT state FROM episodes"), lambda rows: rows == [("scoring",)])
    server.kill()
    assert server.rows("SELECT state, evidence FROM episodes") == [("scoring", None)]
    server.start()
    assert (await pending)["terminated"]
    assert (await client.wait_reward(id))["value"] == 1.0
    assert len(server.rows("SELECT * FROM events WHERE type = 'reward.ready'")) == 1


async def test_while_it_scores(server: Server, client: Client, engine: docker.DockerClient) -> None:
    id = await begin(client, "slow-score")
    await step(client, id, "a", "touch /root/mark")
    pending = asyncio.create_task(score(client, id))
    await until(lambda: server.read("SELECT 1 FROM episodes WHERE evidence IS NOT NULL"), bool)
    await asyncio.sleep(1)
    server.restart()
    assert (await pending)["value"] == 1.0
    assert len(server.rows("SELECT * FROM events WHERE type = 'reward.ready'")) == 1
    assert server.rows("SELECT attempts FROM task_stats") == [(1,)]
    mine = {"label": f"envfarm.owner={server.owner}"}
    await until(lambda: asyncio.to_thread(engine.containers.list, all=True, filters=mine), lambda left: not left)


async def test_a_sandbox_that_died_meanwhile_is_a_failure_and_no_zero(
    server: Server, client: Client, engine: docker.DockerClient
) -> None:
    id, fresh = await begin(client), await begin(client)
    await client.step(id, calls("echo 1"))
    server.kill()
    for container in engine.containers.list(filters={"label": f"envfarm.owner={server.owner}"}):
        container.remove(force=True)
    server.start()
    reward = await client.reward(id)
    assert (reward["status"], reward["value"]) == ("error", None)
    assert (await client.episode(id))["state"] == "failed"
    step = await client.step(fresh, calls("echo 2"))  # it had not been stepped yet, and gets another
    assert step["results"][0]["content"] == "2\n"
    await client.cancel(fresh)


async def test_a_stop_is_like_a_kill_but_gentler(server: Server, client: Client) -> None:
    id = await begin(client)
    command = "echo 1 >> /root/count; sleep 2; cat /root/count"
    pending = asyncio.create_task(client.step(id, calls(command), step_id="a"))
    await asyncio.sleep(0.5)
    assert server.process is not None
    server.process.terminate()
    assert server.process.wait(30) == 0
    server.start()
    assert (await pending)["results"][0]["content"] == "1\n"


class TestForks:
    @pytest.fixture
    def docker_url(self, forking: str | None) -> str | None:
        return forking

    async def test_forks_are_taken_back_and_half_of_one_is_ended(self, server: Server, client: Client) -> None:
        id = await begin(client, "boxed")
        await step(client, id, "a", "cd /tmp; export COLOUR=red; sleep 1000 & echo $! > /root/job")
        [twin] = await client.fork(id, key="k")
        server.restart()
        assert [one["id"] for one in await client.fork(id, key="k")] == [twin["id"]]
        look = "pwd; echo $COLOUR; kill -0 $(cat /root/job) && echo alive"
        assert await step(client, twin["id"], "b", f"{look}; touch /root/mark") == ["/tmp\nred\nalive\n"]
        assert await step(client, id, "b", look) == ["/tmp\nred\nalive\n"]
        assert (await score(client, twin["id"]))["value"] == 1.0
        await step(client, id, "c", "touch /root/mark")  # what was written before a fork counts in it
        pending = asyncio.create_task(client.fork(id, key="m"))
        await asyncio.sleep(0.3)
        server.restart()
        [other] = await pending
        assert await step(client, other["id"], "d", look) == ["/tmp\nred\nalive\n"]
        with contextlib.closing(docker.DockerClient(server.environment.get("DOCKER_HOST"))) as engine:
            mine = engine.containers.list(all=True, filters={"label": f"envfarm.owner={server.owner}"})
        assert {one.labels["envfarm.lease"] for one in mine} == {id, other["id"]}
        assert (await score(client, other["id"]))["value"] == 1.0
        assert (await score(client, id))["value"] == 1.0
