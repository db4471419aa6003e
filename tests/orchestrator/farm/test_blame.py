"""A sandbox that does not answer: 0 when the agent broke it, null when the farm may have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from envfarm.envs.base import ScoreContext
from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.schemas.episodes import Call, EpisodeRequest, FinishRequest, StepRequest, StepView
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import SandboxSilent
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend


async def step(farm: Farm, id: str, name: str = "s") -> StepView:
    call = Call(name="bash", arguments={"command": "echo 1 > /mark"})
    view = await farm.step(id, StepRequest(step_id=name, calls=[call]))
    assert view is not None
    return view


async def started(farm: Farm) -> str:
    id = (await farm.create(EpisodeRequest(task_id="toy/one")))[0].id
    await step(farm, id)
    return id


async def ended(backend: SimulatedBackend) -> None:
    """Wait until the sandboxes, which are given back behind the reward, are gone."""
    for _ in range(1000):
        if not backend.sandboxes:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"left: {list(backend.sandboxes)}")


async def test_an_agent_that_broke_its_sandbox_gets_0(farm: Farm, backend: SimulatedBackend) -> None:
    id = await started(farm)
    backend.silence(*backend.sandboxes)
    await farm.finish(id, FinishRequest())
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value) == ("done", 0.0)
    assert "broke its sandbox" in (reward.reason or "")
    assert (await farm.episode(id)).state == "scored"
    await ended(backend)


async def test_so_does_one_whose_sandbox_falls_silent_in_a_step(farm: Farm, backend: SimulatedBackend) -> None:
    id = await started(farm)
    backend.silence(*backend.sandboxes)
    view = await step(farm, id, "t")
    assert (view.truncated, view.info.reason, view.results) == (True, "sandbox", [])
    assert await step(farm, id, "t") == view
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value) == ("done", 0.0)


async def test_a_restart_does_not_turn_its_0_into_null(
    open_farm: Callable[..., Awaitable[Farm]], backend: SimulatedBackend
) -> None:
    farm = await open_farm()
    ids = [await started(farm), await started(farm)]
    for sandbox in list(backend.sandboxes):
        backend.silence(sandbox)
    assert (await step(farm, ids[0], "t")).info.reason == "sandbox"
    await farm.close()
    farm = await open_farm()
    assert (await step(farm, ids[1], "t")).info.reason == "sandbox"
    for id in ids:
        reward = await farm.reward(id, wait=10)
        assert (reward.status, reward.value) == ("done", 0.0)
    await ended(backend)


async def test_broken_sandboxes_hold_up_nobody_elses_score(
    farm: Farm, toy: Any, backend: SimulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = await started(farm)
    broken = [await started(farm) for _ in range(20)]
    never = asyncio.Event()
    for sandbox in list(backend.sandboxes)[1:]:
        backend.silence(sandbox)
    attach = backend.attach

    async def slow(sandbox_id: str) -> Any:
        await never.wait()
        return await attach(sandbox_id)

    monkeypatch.setattr(backend, "attach", slow)
    for id in (*broken, good):
        await farm.finish(id, FinishRequest())
    assert (await farm.reward(good, wait=10)).value == 1.0
    never.set()
    assert {(await farm.reward(id, wait=20)).value for id in broken} == {0.0}


async def test_silence_of_a_fresh_sandbox_is_nobodys_0(farm: Farm, toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nested(self: object, task: Task, context: ScoreContext) -> dict[str, str]:
        async with context.fresh(SandboxSpec(image="toy")):
            raise SandboxSilent("the fresh one does not answer")

    monkeypatch.setattr(toy, "collect", nested)
    id = await started(farm)
    await farm.finish(id, FinishRequest())
    reward = await farm.reward(id, wait=20)
    assert (reward.status, reward.value) == ("error", None)


async def test_a_farm_that_was_slow_for_a_moment_scores_all_the_same(farm: Farm, backend: SimulatedBackend) -> None:
    id = await started(farm)
    backend.silence(*backend.sandboxes, for_ever=False)
    await farm.finish(id, FinishRequest())
    assert (await farm.reward(id, wait=10)).value == 1.0


async def test_a_step_goes_on_over_a_new_stream(farm: Farm, backend: SimulatedBackend) -> None:
    id = await started(farm)
    backend.silence(*backend.sandboxes, for_ever=False)
    view = await step(farm, id, "t")
    assert (view.truncated, view.results[0].exit_code) == (False, 0)
    await farm.finish(id, FinishRequest())
    assert (await farm.reward(id, wait=10)).value == 1.0


async def test_a_step_that_a_slow_farm_cut_is_no_zero(
    farm: Farm, toy: Any, backend: SimulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await started(farm)
    [sandbox] = backend.sandboxes.values()
    backend.silence(sandbox.id)
    collect = toy.collect

    async def late(self: object, task: Task, context: ScoreContext) -> Any:
        sandbox.silent = ""
        return await collect(self, task, context)

    monkeypatch.setattr(toy, "collect", late)
    assert (await step(farm, id, "t")).info.reason == "sandbox"
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value) == ("error", None)
    assert "too slow" in (reward.reason or "")


async def test_where_an_untouched_sandbox_is_silent_too_it_is_no_zero(
    farm: Farm, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(self: object, task: Task, context: ScoreContext) -> dict[str, str]:
        raise SandboxSilent("it does not answer")

    monkeypatch.setattr(toy, "collect", silent)
    id = await started(farm)
    await farm.finish(id, FinishRequest())
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value) == ("error", None)
    assert "an untouched one" in (reward.reason or "")
