"""A farm that starts where another one stopped, on both databases; test_kill.py does it with kill -9 and Docker."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.schemas.episodes import Call, EpisodeLimits, EpisodeRequest, FinishRequest, StepRequest
from envfarm.orchestrator.schemas.runs import RunRequest
from envfarm.toolbox.errors import Conflict, SandboxStartError
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend

OpenFarm = Callable[..., Awaitable[Farm]]


def bash(*commands: str, step_id: str = "s") -> StepRequest:
    calls = [Call(name="bash", arguments={"command": command}) for command in commands]
    return StepRequest(step_id=step_id, calls=calls)


async def create(farm: Farm, **more: Any) -> str:
    return (await farm.create(EpisodeRequest(task_id="toy/one"), **more))[0].id


async def test_a_running_episode_goes_on_where_it_was(open_farm: OpenFarm, backend: SimulatedBackend) -> None:
    farm = await open_farm()
    id = await create(farm)
    first = await farm.step(id, bash("echo 1 > /mark"))
    await farm.step(id, bash("nonsense", step_id="t"))
    await farm.close()
    assert len(backend.sandboxes) == 1
    farm = await open_farm()
    view = await farm.episode(id)
    assert (view.state, view.turn) == ("running", 2)
    assert await farm.step(id, bash("echo 1 > /mark")) == first
    with pytest.raises(Conflict):
        await farm.step(id, bash("other"))
    assert farm.toolbox.stats().leased == 1
    await farm.finish(id, FinishRequest())
    assert (await farm.reward(id, wait=10)).value == 1.0


async def test_a_step_in_flight_is_finished_and_not_repeated(open_farm: OpenFarm, backend: SimulatedBackend) -> None:
    farm = await open_farm()
    id = await create(farm)
    await farm.episode(id, wait=10)
    backend.latency = 0.3
    calls = bash("echo 1 > /a", "cat /a", "echo 3")
    assert await farm.step(id, calls.model_copy(update={"wait": 0.4})) is None  # in its second call
    await farm.close()
    farm = await open_farm()
    step = await farm.step_result(id, "s", wait=10)
    assert step is not None
    assert [result.content for result in step.results] == ["[no output]", "1\n", "3\n"]
    assert (await farm.episode(id)).turn == 1


async def test_what_was_queued_or_starting_is_started(open_farm: OpenFarm, backend: SimulatedBackend) -> None:
    backend.start_seconds = 0.3
    farm = await open_farm(capacity=1)
    starting, queued = await create(farm), await create(farm)
    waiting = asyncio.create_task(farm.step(starting, bash("echo 1")))
    await asyncio.sleep(0.05)
    await farm.close()
    with pytest.raises(Exception, match="shutting down"):
        await waiting
    farm = await open_farm(capacity=1)
    step = await farm.step(starting, bash("echo 1"))
    assert step is not None
    assert step.results[0].content == "1\n"
    await farm.cancel(starting)
    assert (await farm.episode(queued, wait=10)).state == "running"


async def test_scoring_goes_on_from_what_was_saved(
    open_farm: OpenFarm, backend: SimulatedBackend, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = await open_farm()
    id = await create(farm)
    await farm.step(id, bash("echo 0.5 > /mark"))
    score = toy.score

    async def slow(*arguments: Any) -> Any:
        await asyncio.sleep(30)

    monkeypatch.setattr(toy, "score", slow)
    await farm.finish(id, FinishRequest(answer="mine"))
    async for event in farm.events(after=0):
        if event.type == "episode.collected":
            break
    await farm.close()
    backend.sandboxes.clear()  # it is not needed any more
    monkeypatch.setattr(toy, "score", score)
    farm = await open_farm()
    assert (await farm.reward(id, wait=10)).value == 0.5
    assert [stats.attempts for stats in (await farm.stats()).items] == [1]


async def test_sandboxes_that_nobody_claims_are_ended(open_farm: OpenFarm, backend: SimulatedBackend) -> None:
    mine = await backend.start(SandboxSpec(image="x"), owner="me", lease="gone")
    other = await backend.start(SandboxSpec(image="x"), owner="other", lease="gone")
    await open_farm()
    assert mine.id not in backend.sandboxes
    assert other.id in backend.sandboxes


async def test_an_episode_whose_task_is_gone_fails_with_a_reason(open_farm: OpenFarm, task_folder: Path) -> None:
    farm = await open_farm()
    id = await create(farm)
    await farm.episode(id, wait=10)
    await farm.close()
    shutil.rmtree(task_folder / "toy" / "one")
    farm = await open_farm()
    reward = await farm.reward(id)
    assert (reward.status, reward.value) == ("error", None)
    assert "toy/one" in (reward.reason or "")
    assert (await farm.episode(id)).messages == []


async def test_quotas_and_idempotency_keys_outlive_the_server(open_farm: OpenFarm) -> None:
    farm = await open_farm()
    await farm.put_run("r", RunRequest(max_concurrent=1, lease_s=77))
    id = await create(farm, run="r", idempotency_key="k")
    await farm.close()
    farm = await open_farm()
    assert await create(farm, run="r", idempotency_key="k") == id
    assert (await farm.run("r")).lease_s == 77
    second = await create(farm, run="r")
    await asyncio.sleep(0.2)
    assert (await farm.episode(second)).state == "queued"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_a_server_takes_back_only_what_is_its_own(open_farm: OpenFarm, backend: SimulatedBackend) -> None:
    here, there = await open_farm("here"), await open_farm("there")
    mine, theirs = await create(here), await create(there)
    for farm, id in ((here, mine), (there, theirs)):
        await farm.episode(id, wait=10)
    await here.close()
    again = await open_farm("here")
    assert again.counts() == {"running": 1}
    assert len(backend.sandboxes) == 2
    assert await there.step(theirs, bash("true")) is not None
    assert await again.step(mine, bash("true")) is not None


async def test_one_sandbox_that_cannot_be_taken_back_costs_only_its_episode(
    open_farm: OpenFarm, backend: SimulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = await open_farm()
    bad, good = await create(farm), await create(farm)
    for id in (bad, good):
        await farm.step(id, bash("echo 1 > /mark"))
    await farm.close()
    first = min(backend.sandboxes)
    attach = backend.attach

    async def hostile(id: str) -> Any:
        if id == first:
            raise SandboxStartError("it answered nonsense")
        return await attach(id)

    monkeypatch.setattr(backend, "attach", hostile)
    farm = await open_farm()
    states = [(await farm.episode(id, wait=10)).state for id in (bad, good)]
    assert sorted(states) == ["failed", "running"]


async def test_the_room_for_whole_outputs_does_not_grow_by_a_restart(
    open_farm: OpenFarm, backend: SimulatedBackend
) -> None:
    limits = EpisodeLimits(output_limit=256)
    farm = await open_farm(kept_outputs=2500)
    id = (await farm.create(EpisodeRequest(task_id="toy/one", limits=limits)))[0].id
    long = f"echo {'x' * 999}"  # 1000 bytes with the line's end
    await farm.step(id, bash(long))
    backend.latency = 0.3
    await farm.step(id, bash(long, "echo short", step_id="t").model_copy(update={"wait": 0}))
    while not any(one.results for one in (await farm.steps(id)).items[1:]):  # noqa: ASYNC110 - a caller can only ask
        await asyncio.sleep(0.01)
    await farm.close()
    farm = await open_farm(kept_outputs=2500)
    backend.latency = 0.0
    step = await farm.step_result(id, "t", wait=10)
    assert step is not None
    assert [set(result.artifacts) for result in step.results] == [{"stdout"}, set()]
    await farm.close()
    farm = await open_farm(kept_outputs=2500)
    last = await farm.step(id, bash(long, "echo short", f"echo {'y' * 499}", long, step_id="u"))
    assert last is not None
    assert [set(result.artifacts) for result in last.results] == [set(), set(), {"stdout"}, set()]
    told = ["the farm keeps no copy" in result.content for result in last.results]
    assert told == [True, False, False, True]
    assert [result.truncated for result in last.results] == [True, False, True, True]
