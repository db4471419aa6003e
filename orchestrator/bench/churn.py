"""Episodes started, stepped once and released for each second, against bare `docker run` and `docker rm` loops."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from envfarm.orchestrator.bench import peers
from envfarm.orchestrator.bench.report import Row, row
from envfarm.orchestrator.bench.server import BASE, TASK, TRUE, bench_server
from envfarm.trainers.client import Client

_WORKERS = 8


async def measure(rounds: int, cache: Path) -> list[Row]:
    """Both with the same number of loops side by side, for `rounds` / 10 seconds each (at least 10)."""
    seconds = max(10.0, rounds / 10)
    async with bench_server(warm=_WORKERS, capacity=4 * _WORKERS) as server:
        await asyncio.gather(*(_loop(server.client, time.perf_counter() + 2) for _ in range(_WORKERS)))  # warms up
        begin = time.perf_counter()
        counts = await asyncio.gather(*(_loop(server.client, begin + seconds) for _ in range(_WORKERS)))
        ours = sum(counts) / (time.perf_counter() - begin)
    bare = await asyncio.to_thread(peers.docker_churn, BASE, seconds, _WORKERS)
    name = f"episodes started, stepped once and released, {_WORKERS} at once"
    return [row(name, "1/s", ours, bare, "docker run + docker rm", better="higher")]


async def _loop(client: Client, end: float) -> int:
    count = 0
    while time.perf_counter() < end:
        [episode] = await client.create(TASK)
        await client.step(episode["id"], TRUE)
        await client.delete(episode["id"])
        count += 1
    return count
