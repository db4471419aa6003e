"""Idempotency keys: one at a time, whoever comes when, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.schemas.episodes import EpisodeRequest, ForkRequest
from envfarm.toolbox.errors import SandboxStartError
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend

ONE = EpisodeRequest(task_id="toy/one")


async def test_who_comes_after_a_failure_waits_for_those_who_came_before(farm: Farm, backend: SimulatedBackend) -> None:
    id = (await farm.create(ONE))[0].id
    await farm.episode(id, wait=10)
    backend.start_seconds = 0.3
    backend.failures = [SandboxStartError("no")]
    first, second = [asyncio.create_task(farm.fork(id, ForkRequest(), idempotency_key="k")) for _ in range(2)]
    with pytest.raises(SandboxStartError):
        await first
    third = await farm.fork(id, ForkRequest(), idempotency_key="k")
    assert [twin.id for twin in third] == [twin.id for twin in await second]
    assert farm.toolbox.stats().forks == 1
    assert len(backend.sandboxes) == 2


async def test_calls_at_the_same_time_make_episodes_once(farm: Farm) -> None:
    made = await asyncio.gather(*(farm.create(ONE, idempotency_key="k") for _ in range(5)))
    assert len({view.id for views in made for view in views}) == 1
    other = await farm.create(ONE, run="other", idempotency_key="k")
    assert other[0].id != made[0][0].id
