"""Leases: what nobody renews is reclaimed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from envfarm.orchestrator.schemas.episodes import Call, EpisodeRequest, ForkRequest, StepRequest
from envfarm.orchestrator.schemas.runs import RunRequest
from envfarm.toolbox.errors import Gone
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend

TRUE = StepRequest(step_id="s", calls=[Call(name="bash", arguments={"command": "true"})])
ONE = EpisodeRequest(task_id="toy/one")


async def test_an_episode_that_nobody_renews_expires(open_farm: Any, backend: SimulatedBackend) -> None:
    farm = await open_farm(lease_seconds=1.5)
    [view] = await farm.create(ONE)
    types = []
    async for event in farm.events(after=0):
        types.append(event.type)
        if event.type == "reward.ready":
            break
    assert types.index("lease.expiring") < types.index("lease.expired")
    reward = await farm.reward(view.id, wait=5)
    assert (reward.status, reward.value) == ("invalid", None)
    assert (await farm.episode(view.id)).state == "expired"
    with pytest.raises(Gone, match="not renewed"):
        await farm.step(view.id, TRUE)
    await asyncio.sleep(0.05)
    assert backend.sandboxes == {}


async def test_any_call_and_a_heartbeat_renew(open_farm: Any) -> None:
    farm = await open_farm(lease_seconds=1.5)
    names = ("episode", "steps", "artifacts", "reward", "id", "run")
    by_call, by_steps, by_files, by_reward, by_id, by_run = [(await farm.create(ONE, run=one))[0].id for one in names]
    for _ in range(10):
        await asyncio.sleep(0.25)
        await farm.episode(by_call)
        await farm.steps(by_steps)
        await farm.artifacts_of(by_files)
        await farm.reward(by_reward)
        assert (await farm.renew(ids=[by_id, "ep-none"])).gone == ["ep-none"]
        renewed = await farm.renew(run="run")
        assert renewed.renewed == [by_run]
        assert renewed.lease_expires_at > time.time()
    assert farm.counts() == {"running": 6}


async def test_a_step_that_runs_keeps_its_lease(open_farm: Any, backend: SimulatedBackend) -> None:
    farm = await open_farm(lease_seconds=0.5)
    [view] = await farm.create(ONE)
    await farm.episode(view.id, wait=5)
    backend.latency = 1.5
    assert await farm.step(view.id, TRUE) is not None


async def test_copies_that_are_made_keep_the_lease_of_their_origin(open_farm: Any, backend: SimulatedBackend) -> None:
    farm = await open_farm(lease_seconds=1.0)
    [view] = await farm.create(ONE)
    await farm.episode(view.id, wait=5)
    backend.start_seconds = 2.5
    assert len(await farm.fork(view.id, ForkRequest(n=2))) == 2
    assert await farm.step(view.id, TRUE) is not None


async def test_a_run_sets_its_own_lease(open_farm: Any) -> None:
    farm = await open_farm(lease_seconds=0.3)
    await farm.put_run("long", RunRequest(lease_s=60))
    [view] = await farm.create(ONE, run="long")
    await asyncio.sleep(0.8)
    assert (await farm.episode(view.id)).state == "running"
