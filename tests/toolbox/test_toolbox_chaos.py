"""The allocator while starts fail, sandboxes die, ends fail and callers give up, all at once."""

from __future__ import annotations

import asyncio
import random

import pytest

from envfarm.toolbox.errors import BackendUnavailable, FarmFull, SandboxStartError
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend
from envfarm.toolbox.toolbox import Toolbox

SPECS = [SandboxSpec(image=str(n)) for n in range(5)]


async def trouble(chance: random.Random, backend: SimulatedBackend, callers: list[asyncio.Task[None]]) -> None:
    """Callers who give up, starts and ends that fail, and sandboxes that die, until it is cancelled."""
    while True:
        await asyncio.sleep(0.003)
        chance.choice(callers).cancel()
        if chance.random() < 0.2:
            backend.failures.append(SandboxStartError("no"))
        if chance.random() < 0.1:
            backend.close_failures.append(BackendUnavailable("no"))
        if backend.sandboxes and chance.random() < 0.2:
            backend.lose(chance.choice(list(backend.sandboxes)))


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_leaks_and_no_limit_is_crossed(seed: int) -> None:
    chance = random.Random(seed)
    backend = SimulatedBackend(start_seconds=0.002)
    capacity = chance.choice([1, 3, 8])
    toolbox = Toolbox(
        backend,
        owner="test",
        capacity=capacity,
        reserve=1,
        queue=50,
        warm=chance.choice([0, 1, 3]),
        starts=4,
        idle_seconds=chance.choice([0.05, 100]),
        probe_seconds=0.01,
        tick=0.005,
    )
    toolbox.set_run("1", max_concurrent=1)

    async def lease(n: int) -> None:
        patience = chance.choice([0.003, 0.02, 10])
        sandbox = await toolbox.lease(
            chance.choice(SPECS), lease=str(n), run=str(n % 3), group=str(n // 4), timeout=patience
        )
        try:
            await asyncio.sleep(chance.random() * 0.02)
        finally:
            await toolbox.release(sandbox)

    async def score() -> None:
        async with asyncio.timeout(chance.choice([0.01, 10])), toolbox.fresh(chance.choice(SPECS)):
            await asyncio.sleep(chance.random() * 0.01)

    async def caller(n: int) -> None:
        await asyncio.sleep(chance.random() * 0.4)
        try:
            await (score() if chance.random() < 0.2 else lease(n))
        except (FarmFull, SandboxStartError, TimeoutError):
            return

    callers = [asyncio.create_task(caller(n)) for n in range(300)]
    troubles = asyncio.create_task(trouble(chance, backend, callers))
    results = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 60)
    troubles.cancel()
    assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
    backend.failures.clear()
    backend.close_failures.clear()

    # Whatever happened, every slot can be had again, and nothing is left at the end.
    again = [await toolbox.lease(SPECS[0], lease=f"again-{n}", run="again") for n in range(capacity)]
    stats = toolbox.stats()
    assert (stats.leased, stats.scoring, stats.queued) == (capacity, 0, 0)
    assert backend.most <= capacity + 1
    for sandbox in again:
        await toolbox.release(sandbox)
    await toolbox.close()
    assert backend.sandboxes == {}
