"""Servers of one PostgreSQL and one back end: what a gone one drove goes on, and a slow one lets go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from envfarm.orchestrator.errors import Elsewhere, Fenced, Moving, SettingsError
from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.schemas.episodes import Call, EpisodeRequest, FinishRequest, StepRequest
from envfarm.orchestrator.store import tables
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import BackendUnavailable, Conflict
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend

OpenFarm = Callable[..., Awaitable[Farm]]
pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def bash(*commands: str, step_id: str = "s", **more: Any) -> StepRequest:
    calls = [Call(name="bash", arguments={"command": command}) for command in commands]
    return StepRequest(step_id=step_id, calls=calls, **more)


async def create(farm: Farm, **more: Any) -> str:
    id = (await farm.create(EpisodeRequest(task_id="toy/one"), **more))[0].id
    await farm.episode(id, wait=10)
    return id


async def die(farm: Farm) -> None:
    """Let a farm end as `kill -9` ends it: it says nothing and lets go of nothing."""
    await farm.core.stop()
    await farm.store.close()


async def drives(farm: Farm, *ids: str) -> None:
    """Wait until a farm drives some episodes."""
    async with asyncio.timeout(30):
        while not set(ids) <= set(farm.core.live):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


@pytest.fixture
def join(open_farm: OpenFarm) -> OpenFarm:
    """Starts farms that take over from each other."""

    async def start(owner: str, **settings: Any) -> Farm:
        return await open_farm(owner, **{"takeover": True, "takeover_seconds": 3.0} | settings)

    return start


async def test_what_one_leaves_another_goes_on_with(join: OpenFarm, backend: SimulatedBackend) -> None:
    here, there = await join("here"), await join("there")
    id = await create(here)
    first = await here.step(id, bash("echo 1 > /mark"))
    await here.close()
    await drives(there, id)
    assert await there.step(id, bash("echo 1 > /mark")) == first
    with pytest.raises(Conflict):
        await there.step(id, bash("other"))
    step = await there.step(id, bash("cat /mark", step_id="t"))
    assert step is not None
    assert (step.turn, step.results[0].content) == (1, "1\n")
    assert [one.lease for one in await backend.find("there")] == [id]
    assert there.toolbox.stats().leased == 1
    await there.finish(id, FinishRequest())
    assert (await there.reward(id, wait=10)).value == 1.0
    assert await backend.find("there") == []


async def test_a_dead_server_is_missed_and_its_step_ends_elsewhere(join: OpenFarm, backend: SimulatedBackend) -> None:
    here, there = await join("here"), await join("there")
    id = await create(here)
    backend.latency = 0.3
    assert await here.step(id, bash("echo 1 > /f", "cat /f", wait=0.4)) is None  # in its second call
    await die(here)
    with pytest.raises((Elsewhere, Moving)):  # as long as it is not missed
        await there.step(id, bash("echo 1 > /f", "cat /f"))
    await drives(there, id)
    step = await there.step(id, bash("echo 1 > /f", "cat /f"))
    assert step is not None
    assert [result.content for result in step.results] == ["[no output]", "1\n"]


async def test_what_was_queued_or_scored_goes_on(
    join: OpenFarm, backend: SimulatedBackend, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await join("here", capacity=1), await join("there")
    scored = await create(here)
    await here.step(scored, bash("echo 0.5 > /mark"))
    queued = (await here.create(EpisodeRequest(task_id="toy/one")))[0].id
    score = toy.score

    async def slow(*arguments: Any) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(toy, "score", slow)
    await here.finish(scored, FinishRequest())
    async for event in here.events(after=0):
        if event.type == "episode.collected":
            break
    await die(here)
    monkeypatch.setattr(toy, "score", score)
    await there.store.flush()
    assert (await there.reward(scored, wait=30)).value == 0.5
    assert (await there.episode(queued, wait=30)).state == "running"
    assert [stats.attempts for stats in (await there.stats()).items] == [1]


async def test_evidence_that_stayed_with_a_dead_server_is_a_fault_that_names_the_fix(
    join: OpenFarm, toy: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here, there = await join("here"), await join("there")
    monkeypatch.setattr(there.core, "artifacts", Artifacts(tmp_path / "other"))
    id = await create(here)
    await here.step(id, bash("echo 1 > /mark"))

    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(toy, "score", never)
    await here.finish(id, FinishRequest())
    async for event in here.events(after=0):
        if event.type == "episode.collected":
            break
    await die(here)
    reward = await there.reward(id, wait=30)
    assert reward.value is None
    assert "let all servers share one folder `artifacts`" in (reward.reason or "")


async def test_a_slow_server_lets_go_and_goes_on_as_another(
    join: OpenFarm, backend: SimulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, there = await join("slow"), await join("there")
    id, other = await create(slow), await create(slow)
    await slow.step(id, bash("echo 1 > /mark"))
    beat, let_go = slow.servers.beat, slow._takeover.let_go

    async def nothing() -> None:
        await asyncio.sleep(0.01)

    monkeypatch.setattr(slow.servers, "beat", nothing)  # it hangs, as it were: nobody hears of it
    monkeypatch.setattr(slow._takeover, "let_go", nothing)
    waiting = asyncio.create_task(slow.reward(other, wait=600))
    await drives(there, id, other)
    with pytest.raises(Moving, match="could not tell"):  # nothing reaches the sandbox
        await slow.step(id, bash("echo 2 > /mark", step_id="t"))
    with pytest.raises(Fenced):  # nor the store
        await slow.cancel(id)
    monkeypatch.setattr(slow.servers, "beat", beat)
    await let_go()
    with pytest.raises(Moving):
        await waiting
    assert slow.counts() == {}
    assert slow.toolbox.stats().leased == 0
    step = await there.step(id, bash("cat /mark", step_id="u"))
    assert step is not None
    assert (step.turn, step.results[0].content) == (1, "1\n")
    mine = await create(slow)  # it is one of them again
    assert await slow.step(mine, bash("true")) is not None
    assert set(there.core.live) == {id, other}
    assert len(backend.sandboxes) == 3


async def test_of_many_heirs_one_takes_all(join: OpenFarm, backend: SimulatedBackend) -> None:
    heirs = [await join(f"heir{number}") for number in range(4)]
    here = await join("here")
    ids = [await create(here) for _ in range(5)]
    await here.close()
    async with asyncio.timeout(30):
        while sum(len(heir.core.live) for heir in heirs) < 5:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    assert sorted(len(heir.core.live) for heir in heirs) == [0, 0, 0, 5]
    rows = await heirs[0].store.rows(select(tables.episodes.c.owner).distinct())
    assert len(rows) == 1
    [heir] = [one for one in heirs if one.core.live]
    for id in ids:
        assert await heir.step(id, bash("true")) is not None


async def test_who_comes_back_kills_nothing_that_was_handed_on(
    join: OpenFarm, backend: SimulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def as_docker_does(*_: Any, **__: Any) -> bool:
        return True  # without a new name on it

    monkeypatch.setattr(backend, "claim", as_docker_does)
    here, there = await join("here"), await join("there")
    id = await create(here)
    left = await backend.start(SandboxSpec(image="toy"), owner="here", lease="warm")
    await die(here)
    await drives(there, id)
    async with asyncio.timeout(30):
        while left.id in backend.sandboxes:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    again = await join("here")
    assert again.counts() == {}
    assert await there.step(id, bash("true")) is not None
    mine = await create(again)
    assert await again.step(mine, bash("true")) is not None


async def test_who_comes_back_in_time_keeps_what_is_its_own(join: OpenFarm) -> None:
    here, there = await join("here", takeover_seconds=60), await join("there", takeover_seconds=60)
    id = await create(here)
    await die(here)
    again = await join("here", takeover_seconds=60)
    assert await again.step(id, bash("true")) is not None
    await there._takeover.look()
    assert there.counts() == {}


async def test_nothing_is_taken_from_a_server_that_does_not_take_part(join: OpenFarm, open_farm: OpenFarm) -> None:
    alone, there = await open_farm("alone"), await join("there")
    id = await create(alone)
    await alone.close()
    await there._takeover.look()
    assert there.counts() == {}
    assert "stopped; it goes on when that one starts again" in ((await there.episode(id)).reason or "")


async def test_an_engine_that_is_away_ends_nothing(
    join: OpenFarm, backend: SimulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await join("here"), await join("there")
    id = await create(here)
    asked = asyncio.Event()
    attach = backend.attach

    async def away(_: str) -> Any:
        asked.set()
        raise BackendUnavailable("no engine answers")

    monkeypatch.setattr(backend, "attach", away)
    await here.close()
    await asyncio.wait_for(asked.wait(), 30)
    with pytest.raises(Moving, match="just being taken over"):
        await there.step(id, bash("true"))
    assert (await there.renew(ids=[id])).gone == []
    monkeypatch.setattr(backend, "attach", attach)
    await drives(there, id)
    assert await there.step(id, bash("true")) is not None


async def test_takeover_needs_a_shared_back_end(
    join: OpenFarm, backend: SimulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none() -> None:
        return None

    monkeypatch.setattr(backend, "place", none)
    with pytest.raises(SettingsError, match="takeover: simulated sandboxes end with their server; set it to false"):
        await join("here")
