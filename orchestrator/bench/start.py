"""An episode from a warm pool, request to first observation, against `docker run` and the first `docker exec`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from envfarm.orchestrator.bench import peers
from envfarm.orchestrator.bench.report import Row, median, row
from envfarm.orchestrator.bench.server import BASE, TASK, TRUE, bench_server, running
from envfarm.trainers.client import Client

_NAME = "warm episode, request to first observation, p50"
_REFILL = 1.0  # seconds between rounds, in which the pool fills up again


async def measure(rounds: int, cache: Path) -> list[Row]:
    """Medians in milliseconds."""
    rounds = min(rounds, 20)
    async with bench_server(warm=4, capacity=16) as server:
        for episode in await running(server.client, n=2):  # the pool keeps an image warm from its second use on
            await server.client.delete(episode)
        times = []
        for _ in range(rounds):
            await asyncio.sleep(_REFILL)
            times.append(await _first_observation(server.client))
    plain = await asyncio.to_thread(peers.docker_start, BASE, rounds)
    rex = await peers.swerex(BASE, 5, cache)
    return [
        row(_NAME, "ms", median(times), median(plain), "docker run + first docker exec"),
        row(_NAME, "ms", median(times), rex["start"], "SWE-ReX start"),
    ]


async def _first_observation(client: Client) -> float:
    begin = time.perf_counter()
    [episode] = await client.create(TASK)
    await client.step(episode["id"], TRUE)
    seconds = time.perf_counter() - begin
    await client.delete(episode["id"])
    return seconds
