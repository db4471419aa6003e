"""Forks of episodes, on SQLite and on PostgreSQL, over the simulated back end; test_kill.py does it on Docker."""

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
    StepRequest,
)
from envfarm.orchestrator.schemas.runs import RunRequest
from envfarm.toolbox.errors import Conflict, FarmFull, Gone, NotFound, SandboxLost, SandboxSilent, SandboxStartError
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend

OpenFarm = Callable[..., Awaitable[Farm]]


def bash(*commands: str, step_id: str = "s") -> StepRequest:
    calls = [Call(name="bash", arguments={"command": command}) for command in commands]
    return StepRequest(step_id=step_id, calls=calls)


async def create(farm: Farm, run: str = "default", **more: Any) -> str:
    id = (await farm.create(EpisodeRequest(task_id="toy/one", **more), run=run))[0].id
    assert (await farm.episode(id, wait=10)).state == "running"
    return id


async def contents(farm: Farm, id: str) -> list[list[str]]:
    """What the recorded steps printed."""
    return [[result.content for result in step.results or ()] for step in (await farm.steps(id)).items]


async def score(farm: Farm, id: str) -> float | None:
    await farm.finish(id, FinishRequest())
    return (await farm.reward(id, wait=10)).value


async def test_a_fork_has_the_history_and_goes_its_own_way(farm: Farm) -> None:
    id = await create(farm, group_id="g", policy_version="v1")
    first = await farm.step(id, bash("echo 0.5 > /mark", "cat /mark"))
    await farm.step(id, bash("echo two", step_id="t"))
    twins = await farm.fork(id, ForkRequest(n=2, policy_version="v2"))
    origin = await farm.episode(id)
    for twin in twins:
        assert (twin.state, twin.turn, twin.task, twin.run) == ("running", 2, origin.task, origin.run)
        assert (twin.group_id, twin.policy_version, twin.started_at) == ("g", "v2", origin.started_at)
        assert twin.messages == origin.messages
        assert await contents(farm, twin.id) == await contents(farm, id)
        assert await farm.step(twin.id, bash("echo 0.5 > /mark", "cat /mark")) == first
    a, b = (twin.id for twin in twins)
    await farm.step(a, bash("echo 1 > /mark", step_id="u"))
    await farm.step(id, bash("echo 0.25 > /mark", step_id="u"))
    [c] = [twin.id for twin in await farm.fork(a, ForkRequest())]
    assert len(await contents(farm, c)) == 3
    assert [await score(farm, one) for one in (id, a, b, c)] == [0.25, 1.0, 0.5, 1.0]
    assert len(await contents(farm, b)) == 2
    assert farm.toolbox.stats().leased == 0


async def test_limits_go_on_counting_in_a_fork(farm: Farm) -> None:
    id = await create(farm, limits=EpisodeLimits(max_turns=3, max_errors=2))
    await farm.step(id, StepRequest(step_id="bad", calls=[Call(name="none")]))
    [twin] = await farm.fork(id, ForkRequest())
    step = await farm.step(twin.id, StepRequest(step_id="worse", calls=[Call(name="none")]))
    assert step is not None
    assert (step.truncated, step.info.reason) == (True, "errors")
    await farm.step(id, bash("echo 2", step_id="2"))
    [other] = await farm.fork(id, ForkRequest())
    step = await farm.step(other.id, bash("echo 3", step_id="3"))
    assert step is not None
    assert (step.truncated, step.info.reason) == (True, "turns")


async def test_a_fork_has_the_room_for_whole_outputs_that_its_origin_had_left(open_farm: Any) -> None:
    farm = await open_farm(kept_outputs=1500)
    id = await create(farm, limits=EpisodeLimits(output_limit=256))
    long = f"echo {'x' * 999}"
    await farm.step(id, bash(long))
    [twin] = await farm.fork(id, ForkRequest())
    step = await farm.step(twin.id, bash(long, step_id="t"))
    assert step is not None
    assert (step.results[0].truncated, step.results[0].artifacts) == (True, {})


async def test_a_key_makes_forks_once(farm: Farm) -> None:
    id = await create(farm)
    twins, again = [await farm.fork(id, ForkRequest(n=2), idempotency_key="k") for _ in range(2)]
    assert [twin.id for twin in twins] == [twin.id for twin in again]
    with pytest.raises(Conflict, match="another body"):
        await farm.fork(id, ForkRequest(n=3), idempotency_key="k")
    with pytest.raises(Conflict, match="another body"):
        await farm.fork(twins[0].id, ForkRequest(n=2), idempotency_key="k")
    await farm.cancel(id)
    again = await farm.fork(id, ForkRequest(n=2), idempotency_key="k")
    assert [twin.id for twin in twins] == [twin.id for twin in again]


async def test_what_cannot_be_forked_says_why(farm: Farm, backend: SimulatedBackend) -> None:
    with pytest.raises(NotFound):
        await farm.fork("ep-none", ForkRequest())
    backend.start_seconds = 3600
    queued = (await farm.create(EpisodeRequest(task_id="toy/one")))[0].id
    with pytest.raises(Conflict, match="is queued: wait until it runs"):
        await farm.fork(queued, ForkRequest())
    backend.start_seconds = 0
    id = await create(farm)
    backend.latency = 0.3
    running = asyncio.create_task(farm.step(id, bash("echo 1")))
    await asyncio.sleep(0.1)
    with pytest.raises(Conflict, match=r"step 's' .* has no result yet"):
        await farm.fork(id, ForkRequest())
    await running
    await farm.cancel(id)
    with pytest.raises(Gone, match=r"is cancelled .* and cannot be forked"):
        await farm.fork(id, ForkRequest())


async def test_a_step_that_comes_while_copies_are_made_is_in_none_of_them(
    farm: Farm, backend: SimulatedBackend
) -> None:
    id = await create(farm)
    backend.start_seconds = 0.3
    forking = asyncio.create_task(farm.fork(id, ForkRequest(n=3)))
    await asyncio.sleep(0.1)
    after = await farm.step(id, bash("echo 1 > /mark"))
    assert forking.done()
    assert after is not None
    assert len(await contents(farm, id)) == 1
    for twin in await forking:
        assert await contents(farm, twin.id) == []
        assert await score(farm, twin.id) == 0.0
    assert await score(farm, id) == 1.0


async def test_a_fork_has_the_files_of_its_own_steps_only(farm: Farm, backend: SimulatedBackend) -> None:
    id = await create(farm, limits=EpisodeLimits(output_limit=256))
    long = f"echo {'x' * 1000}"
    for turn in range(11):
        await farm.step(id, bash(long, step_id=str(turn)))
    kept = (await farm.artifacts_of(id)).items
    assert [item.name.split("/")[:2] for item in kept] == sorted(["steps", str(turn)] for turn in range(11))
    backend.start_seconds = 0.3
    forking = asyncio.create_task(farm.fork(id, ForkRequest(n=2)))
    await asyncio.sleep(0.1)
    await farm.finish(id, FinishRequest())  # what is saved for its scoring lies beside its steps' files
    assert (await farm.reward(id, wait=10)).status == "done"
    for twin in await forking:
        assert (await farm.artifacts_of(twin.id)).items == kept
    backend.start_seconds = 0.0
    early = await create(farm, limits=EpisodeLimits(output_limit=256))
    await farm.step(early, bash(long))
    [twin] = await farm.fork(early, ForkRequest())
    await farm.step(early, bash(long, step_id="later"))
    assert [item.name.split("/")[1] for item in (await farm.artifacts_of(twin.id)).items] == ["0"]


async def test_an_episode_that_ends_while_copies_are_made_is_gone(farm: Farm, backend: SimulatedBackend) -> None:
    id = await create(farm)
    backend.start_seconds = 0.3
    backend.failures = [SandboxStartError("its origin is gone")]
    forking = asyncio.create_task(farm.fork(id, ForkRequest()))
    await asyncio.sleep(0.1)
    await farm.cancel(id)
    with pytest.raises(Gone, match="is cancelled"):
        await forking
    assert farm.toolbox.stats().leased == len(backend.sandboxes) == 0


async def test_an_episode_whose_sandbox_is_lost_fails_at_its_fork(farm: Farm, backend: SimulatedBackend) -> None:
    id = await create(farm)
    backend.lose(next(iter(backend.sandboxes)))
    with pytest.raises(SandboxLost):
        await farm.fork(id, ForkRequest())
    assert (await farm.episode(id)).state == "failed"
    reward = await farm.reward(id)
    assert (reward.status, reward.value) == ("error", None)
    with pytest.raises(Gone, match="the sandbox was lost"):
        await farm.fork(id, ForkRequest())
    assert farm.toolbox.stats().leased == 0


async def test_an_episode_whose_sandbox_fell_silent_is_scored_at_its_fork(
    farm: Farm, backend: SimulatedBackend
) -> None:
    id = await create(farm)
    backend.silence(next(iter(backend.sandboxes)))
    with pytest.raises(SandboxSilent):
        await farm.fork(id, ForkRequest())
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value) == ("done", 0.0)  # an untouched sandbox answers
    view = await farm.episode(id)
    assert (view.truncated, view.reason) == (True, "sandbox")


async def test_a_sandbox_that_answers_over_a_new_stream_is_forked(farm: Farm, backend: SimulatedBackend) -> None:
    id = await create(farm)
    await farm.step(id, bash("echo 1 > /mark"))
    backend.silence(next(iter(backend.sandboxes)), for_ever=False)
    [twin] = await farm.fork(id, ForkRequest())
    assert [await score(farm, one) for one in (id, twin.id)] == [1.0, 1.0]


async def test_a_copy_that_does_not_start_costs_its_origin_nothing(farm: Farm, backend: SimulatedBackend) -> None:
    id = await create(farm)
    backend.failures = [SandboxStartError("a fork does not start")]
    with pytest.raises(SandboxStartError):
        await farm.fork(id, ForkRequest())
    assert (await farm.episode(id)).state == "running"


async def test_a_farm_without_room_refuses_and_a_failure_leaves_nothing(
    open_farm: OpenFarm, backend: SimulatedBackend
) -> None:
    farm = await open_farm(capacity=3)
    await farm.put_run("small", RunRequest(max_concurrent=2))
    id = await create(farm, run="small")
    with pytest.raises(FarmFull, match="run small: it may have 1 more sandboxes, and 2 are"):
        await farm.fork(id, ForkRequest(n=2))
    other = await create(farm)
    with pytest.raises(FarmFull, match="no room for 2 more"):
        await farm.fork(other, ForkRequest(n=2))
    backend.failures = [SandboxStartError("no")]
    with pytest.raises(SandboxStartError):
        await farm.fork(other, ForkRequest(), idempotency_key="k")
    assert len(backend.sandboxes) == farm.toolbox.stats().leased == 2
    assert (await farm.step(other, bash("echo on"))) is not None
    assert len(await farm.fork(other, ForkRequest(), idempotency_key="k")) == 1


async def test_forks_are_taken_back_by_the_next_farm(open_farm: OpenFarm, backend: SimulatedBackend) -> None:
    farm = await open_farm()
    id = await create(farm)
    await farm.step(id, bash("echo 1 > /mark"))
    [twin] = await farm.fork(id, ForkRequest())
    await farm.close()
    farm = await open_farm()
    view = await farm.episode(twin.id)
    assert (view.state, view.turn, view.fork_of, len(backend.sandboxes)) == ("running", 1, id, 2)
    assert await farm.step(twin.id, bash("cat /mark", step_id="t")) is not None
    assert await score(farm, twin.id) == 1.0


async def test_the_event_of_a_fork_names_its_origin(farm: Farm) -> None:
    id = await create(farm)
    [twin] = await farm.fork(id, ForkRequest())
    async for event in farm.events(after=0):
        if event.episode == twin.id:
            break
    assert (event.type, event.data["state"], event.data["fork_of"]) == ("episode.state", "running", id)


async def test_a_fork_names_its_origin_when_it_has_ended_too(farm: Farm) -> None:
    id = await create(farm)
    [twin] = await farm.fork(id, ForkRequest())
    [second] = await farm.fork(twin.id, ForkRequest())
    assert (twin.fork_of, second.fork_of) == (id, twin.id)
    await score(farm, twin.id)
    listed = {view.id: view.fork_of for view in (await farm.list_episodes()).items}
    assert listed == {id: None, twin.id: id, second.id: twin.id}
    assert (await farm.episode(twin.id)).fork_of == id


async def test_a_fork_can_be_renewed_and_expires(farm: Farm) -> None:
    await farm.put_run("short", RunRequest(lease_s=0.5))
    id = await create(farm, run="short")
    [twin] = await farm.fork(id, ForkRequest())
    assert (await farm.renew(ids=[twin.id])).renewed == [twin.id]
    assert (await farm.reward(twin.id, wait=0)).status == "pending"
    await asyncio.sleep(1.5)
    assert (await farm.reward(twin.id)).status == "invalid"
