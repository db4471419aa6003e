"""Suspension: an episode rests with its sandbox and its shell, and goes on under another policy version."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.schemas.episodes import (
    Call,
    EpisodeLimits,
    EpisodeRequest,
    FinishRequest,
    ForkRequest,
    ResumeRequest,
    StepRequest,
    SuspendRequest,
)
from envfarm.toolbox.errors import Conflict, Gone, NotFound
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend

OpenFarm = Callable[..., Awaitable[Farm]]
ONE = EpisodeRequest(task_id="toy/one", policy_version="v1")


def bash(command: str, step_id: str, **more: Any) -> StepRequest:
    return StepRequest(step_id=step_id, calls=[Call(name="bash", arguments={"command": command})], **more)


async def running(farm: Farm, request: EpisodeRequest = ONE) -> str:
    [view] = await farm.create(request)
    await farm.episode(view.id, wait=10)
    return view.id


async def test_it_takes_no_steps_until_it_is_resumed(open_farm: OpenFarm) -> None:
    farm = await open_farm()
    id = await running(farm)
    first = await farm.step(id, bash("echo 1 > /mark", "a"))
    view = await farm.suspend(id, SuspendRequest(ttl_s=300))
    assert view.state == "running"
    assert view.suspended_until is not None
    assert view.lease_expires_at == view.suspended_until
    with pytest.raises(Conflict, match="resume it before"):
        await farm.step(id, bash("true", "b"))
    assert await farm.step(id, bash("echo 1 > /mark", "a")) == first  # what was done can still be asked for
    view = await farm.resume(id, ResumeRequest(policy_version="v2"))
    assert (view.suspended_until, view.policy_version) == (None, "v2")
    await farm.step(id, bash("true", "b"))
    assert [step.policy_version for step in (await farm.steps(id)).items] == ["v1", "v2"]
    await farm.finish(id, FinishRequest())
    reward = await farm.reward(id, wait=10)
    assert (reward.value, reward.policy_version) == (1.0, "v2")


async def test_each_may_be_sent_twice(open_farm: OpenFarm) -> None:
    farm = await open_farm()
    id = await running(farm)
    assert (await farm.resume(id, ResumeRequest())).suspended_until is None
    short = await farm.suspend(id, SuspendRequest(ttl_s=100))
    longer = await farm.suspend(id, SuspendRequest(ttl_s=200))
    assert longer.suspended_until > short.suspended_until  # type: ignore[operator]
    for _ in range(2):
        assert (await farm.resume(id, ResumeRequest(policy_version="v2"))).policy_version == "v2"
    types = [event.type async for event in _events(farm, until="episode.resumed")]
    assert types.count("episode.suspended") == 2
    assert types.count("episode.resumed") == 1


async def _events(farm: Farm, until: str) -> Any:
    async for event in farm.events(after=0):
        yield event
        if event.type == until:
            return


async def test_its_time_limit_stands_still(open_farm: OpenFarm) -> None:
    farm = await open_farm()
    id = await running(farm, ONE.model_copy(update={"limits": EpisodeLimits(timeout_s=2.0)}))
    await farm.suspend(id, SuspendRequest(ttl_s=60))
    await asyncio.sleep(2.2)
    await farm.resume(id, ResumeRequest())
    step = await farm.step(id, bash("true", "a"))
    assert step is not None
    assert not step.truncated


async def test_neither_calls_nor_heartbeats_keep_it_longer_than_asked(
    open_farm: OpenFarm, backend: SimulatedBackend
) -> None:
    farm = await open_farm()
    id = await running(farm)
    await farm.suspend(id, SuspendRequest(ttl_s=0.6))
    await farm.renew(ids=[id])
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value) == ("invalid", None)
    assert "not resumed" in str(reward.reason)
    with pytest.raises(Gone):
        await farm.resume(id, ResumeRequest())
    with pytest.raises(Gone):
        await farm.suspend(id, SuspendRequest())
    with pytest.raises(NotFound):
        await farm.suspend("ep-none", SuspendRequest())
    assert backend.sandboxes == {}


async def test_its_lease_is_the_usual_one_again_after_it(open_farm: OpenFarm) -> None:
    farm = await open_farm(lease_seconds=1.0)
    id = await running(farm)
    await farm.suspend(id, SuspendRequest(ttl_s=3600))
    await asyncio.sleep(1.5)
    await farm.resume(id, ResumeRequest())  # it outlived the lease
    assert "not renewed" in str((await farm.reward(id, wait=10)).reason)


async def test_a_step_in_flight_goes_on_to_its_end(open_farm: OpenFarm, backend: SimulatedBackend) -> None:
    farm = await open_farm()
    id = await running(farm)
    backend.latency = 0.3
    assert await farm.step(id, bash("echo 5 > /mark", "a", wait=0.0)) is None
    await farm.suspend(id, SuspendRequest())
    step = await farm.step_result(id, "a", wait=10)
    assert step is not None
    assert step.results[0].content == "[no output]"


async def test_it_rests_over_a_restart_and_another_server_finds_it_so(open_farm: OpenFarm) -> None:
    farm = await open_farm()
    id = await running(farm)
    await farm.step(id, bash("echo 1 > /mark", "a"))
    before = await farm.suspend(id, SuspendRequest(ttl_s=500))
    await farm.close()
    farm = await open_farm()
    assert (await farm.episode(id)).suspended_until == before.suspended_until
    with pytest.raises(Conflict, match="suspended"):
        await farm.step(id, bash("true", "b"))
    await farm.resume(id, ResumeRequest(policy_version="v3"))
    await farm.finish(id, FinishRequest())
    assert (await farm.reward(id, wait=10)).policy_version == "v3"


async def test_one_that_waits_for_its_sandbox_can_be_suspended(open_farm: OpenFarm, backend: SimulatedBackend) -> None:
    backend.start_seconds = 0.3
    farm = await open_farm()
    [view] = await farm.create(ONE)
    await farm.suspend(view.id, SuspendRequest())
    assert (await farm.episode(view.id, wait=10)).state == "running"
    with pytest.raises(Conflict, match="suspended"):
        await farm.step(view.id, bash("true", "a"))


async def test_what_ends_it_ends_it_and_a_fork_of_it_runs(open_farm: OpenFarm) -> None:
    farm = await open_farm()
    id = await running(farm)
    await farm.suspend(id, SuspendRequest())
    [twin] = await farm.fork(id, ForkRequest())
    assert twin.suspended_until is None
    assert await farm.step(twin.id, bash("true", "a")) is not None
    view = await farm.cancel(id)
    assert (view.state, view.suspended_until) == ("cancelled", None)
