"""One `bash` step over HTTP against one `docker exec`, and against SWE-ReX."""

from __future__ import annotations

import asyncio
from pathlib import Path

from envfarm.orchestrator.bench import peers
from envfarm.orchestrator.bench.report import Row, median, row, time_each
from envfarm.orchestrator.bench.server import BASE, TRUE, bench_server, running

_NAME = "bash step over HTTP, p50"


async def measure(rounds: int, cache: Path) -> list[Row]:
    """Medians in milliseconds, one step after another on one episode."""
    ours = await _steps("runc", rounds)
    plain = await asyncio.to_thread(peers.docker_exec, BASE, min(rounds, 100))
    rows = [row(_NAME, "ms", ours, median(plain), "docker exec (docker-py)")]
    rex = await peers.swerex(BASE, min(rounds, 30), cache)
    rows.append(row(_NAME, "ms", ours, rex["run_in_session"], "SWE-ReX run_in_session"))
    rows.append(row(_NAME, "ms", ours, rex["execute"], "SWE-ReX execute"))
    if await asyncio.to_thread(peers.has_runtime, "runsc"):
        boxed = await _steps("gvisor", rounds)
        plain = await asyncio.to_thread(peers.docker_exec, BASE, min(rounds, 100), runtime="runsc")
        rows.append(row(f"{_NAME}, gVisor", "ms", boxed, median(plain), "docker exec (docker-py), runsc"))
    return rows


async def _steps(isolation: str, rounds: int) -> float:
    async with bench_server(isolation=isolation) as server:
        [episode] = await running(server.client)
        await time_each(lambda: server.client.step(episode, TRUE), 20)  # warms up
        times = await time_each(lambda: server.client.step(episode, TRUE), rounds)
        await server.client.delete(episode)  # a server that stops keeps what lives
        return median(times)
