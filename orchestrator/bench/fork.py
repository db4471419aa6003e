"""A fork of a live episode, up to its first observation, against a new episode that plays the same steps again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import docker

from envfarm.orchestrator.bench.report import Row, median, row
from envfarm.orchestrator.bench.server import TASK, TRUE, bench_server, running
from envfarm.toolbox.sandboxes.docker_fork import lacking
from envfarm.trainers.client import Client

_STEPS = 10  # of the origin; each takes as long as a quick build or a few tests
_WORK = "head -c 1000000 /dev/urandom > file-$RANDOM; sleep 0.2; (sleep 1000 &) >/dev/null 2>&1"
_NAME = f"fork of a live episode with its {_STEPS} processes, to first observation, p50"


async def measure(rounds: int, cache: Path) -> list[Row]:
    """Medians in milliseconds; no row where the engine cannot fork."""
    if await asyncio.to_thread(_lacking) is not None:
        return []
    rounds = min(rounds, 10)
    async with bench_server(isolation="gvisor", capacity=8, warm=2) as server:
        [origin] = await running(server.client)
        await _play(server.client, origin)
        forks, plays = [], []
        for _ in range(rounds):
            forks.append(await _forked(server.client, origin))
            plays.append(await _replayed(server.client))
        await server.client.delete(origin)  # a server that ends leaves what lives
    return [row(_NAME, "ms", median(forks), median(plays), f"a warm episode that plays {_STEPS} steps of 0.2 s again")]


def _lacking() -> str | None:
    client = docker.from_env()
    try:
        return lacking(client.info())
    finally:
        client.close()


async def _play(client: Client, episode: str) -> None:
    calls: list[dict[str, Any]] = [{"name": "bash", "arguments": {"command": _WORK}}]
    for _ in range(_STEPS):
        await client.step(episode, calls)


async def _forked(client: Client, origin: str) -> float:
    begin = time.perf_counter()
    [twin] = await client.fork(origin)
    await client.step(twin["id"], TRUE)
    seconds = time.perf_counter() - begin
    await client.delete(twin["id"])
    return seconds


async def _replayed(client: Client) -> float:
    begin = time.perf_counter()
    [episode] = await client.create(TASK)
    await _play(client, episode["id"])
    await client.step(episode["id"], TRUE)
    seconds = time.perf_counter() - begin
    await client.delete(episode["id"])
    return seconds
