"""The orchestrator alone, on the simulated back end: steps for each second, and the memory of idle episodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from envfarm.orchestrator.bench.report import Row, row
from envfarm.orchestrator.bench.server import TRUE, BenchServer, bench_server, running
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend

_LIVE = 1000
_IDLE = 10_000
_GROUP = 100  # episodes of one creation, and steps of one batch


async def measure(rounds: int, cache: Path) -> list[Row]:
    """Steps a second of one server process with 1,000 live episodes, and MiB with 10,000 idle ones."""
    async with bench_server(backend="simulated", capacity=2 * _IDLE, warm=0, queue=2 * _IDLE) as server:
        empty = server.resident_mb()
        episodes = await _live(server, _LIVE)
        batched = await _rate(episodes, lambda some: _batch(server, some), rounds)
        single = await _rate(episodes, lambda some: _each(server, some), rounds)
        bare = await _bare(rounds * 100)
        await _live(server, _IDLE - _LIVE)
        idle = server.resident_mb() - empty
    peer = "the simulated back end, called bare"
    return [
        row("steps in batches of 100, 1,000 live episodes", "1/s", batched, bare, peer, better="higher"),
        row("steps, a request each, 1,000 live episodes", "1/s", single, bare, peer, better="higher"),
        row("memory of 10,000 idle live episodes", "MiB", idle, None, None),
    ]


async def _live(server: BenchServer, count: int) -> list[str]:
    groups = [await running(server.client, n=_GROUP) for _ in range(count // _GROUP)]
    return [episode for group in groups for episode in group]


async def _rate(episodes: list[str], send: Callable[[list[str]], Awaitable[None]], rounds: int) -> float:
    groups = [episodes[at : at + _GROUP] for at in range(0, len(episodes), _GROUP)]
    laps = max(1, rounds // 20)
    begin = time.perf_counter()
    for _ in range(laps):
        await asyncio.gather(*(send(group) for group in groups))
    return laps * len(episodes) / (time.perf_counter() - begin)


async def _batch(server: BenchServer, episodes: list[str]) -> None:
    await server.client.batch([{"episode": episode, "calls": TRUE} for episode in episodes])


async def _each(server: BenchServer, episodes: list[str]) -> None:
    for episode in episodes:
        await server.client.step(episode, TRUE)


async def _bare(count: int) -> float:
    backend = SimulatedBackend()
    sandbox = await backend.start(SandboxSpec(image="none"), owner="bench", lease="bench")
    begin = time.perf_counter()
    for _ in range(count):
        await sandbox.run("true", session="agent")
    return count / (time.perf_counter() - begin)
