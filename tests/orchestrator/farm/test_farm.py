"""What a caller can do with a farm, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest
from sqlalchemy import update

from envfarm.orchestrator.errors import Elsewhere, SettingsError
from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.schemas.episodes import (
    Call,
    EpisodeLimits,
    EpisodeRequest,
    EpisodeView,
    Event,
    FinishRequest,
    StepRequest,
)
from envfarm.orchestrator.schemas.runs import RunRequest
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import Change
from envfarm.toolbox.errors import BadRequest, Conflict, FarmFull, Gone, NotFound, SandboxStartError
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend


def request(task_id: str | None = "toy/one", **more: Any) -> EpisodeRequest:
    return EpisodeRequest(task_id=task_id, **more)


def bash(command: str, step_id: str = "s") -> StepRequest:
    return StepRequest(step_id=step_id, calls=[Call(name="bash", arguments={"command": command})])


async def create(farm: Farm, **more: Any) -> EpisodeView:
    return (await farm.create(request(**more)))[0]


async def play(farm: Farm, mark: float, **more: Any) -> str:
    """An episode from creation to reward."""
    id = (await create(farm, **more)).id
    await farm.step(id, bash(f"echo {mark} > /mark"))
    await farm.finish(id, FinishRequest())
    assert (await farm.reward(id, wait=10)).value == mark
    return id


async def events_until(farm: Farm, last: str, *, after: int = 0, run: str | None = None) -> list[Event]:
    """Events up to the first of a type."""
    found = []
    async for event in farm.events(after=after, run=run):
        found.append(event)
        if event.type == last:
            break
    return found


async def test_a_creation_answers_at_once_with_messages_and_tools(farm: Farm, backend: SimulatedBackend) -> None:
    backend.start_seconds = 0.5
    view = await create(farm)
    assert view.state == "queued"
    assert view.messages[0].content.startswith("Write 1 into /mark")
    assert [tool["function"]["name"] for tool in view.tools] == ["bash", "finish"]
    assert view.limits.max_turns == 200
    assert (await farm.episode(view.id, wait=10)).state == "running"


async def test_an_episode_end_to_end(farm: Farm, backend: SimulatedBackend) -> None:
    id = await play(farm, 0.5, policy_version="p1")
    view = await farm.episode(id)
    assert (view.state, view.terminated, view.turn) == ("scored", True, 1)
    assert view.reward is not None
    assert (view.reward.value, view.reward.parts) == (0.5, {"mark": 0.5})
    events = await events_until(farm, "reward.ready")
    states = [event.data["state"] for event in events if event.type == "episode.state"]
    assert states == ["queued", "starting", "running", "scoring"]
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    steps = await farm.steps(id)
    assert steps.items[0].calls[0].arguments == {"command": "echo 0.5 > /mark"}
    kept = {one.name: one.digest for one in (await farm.artifacts_of(id)).items}
    assert set(kept) == {"saved/mark", "reward/mark"}
    assert farm.artifacts.get(kept["saved/mark"]) == b"0.5\n"
    await asyncio.sleep(0.05)
    assert backend.sandboxes == {}


async def test_a_group_shares_an_id_and_counts_its_rollouts(farm: Farm) -> None:
    views = await farm.create(request(n=3, rollout_index=4))
    assert [view.rollout_index for view in views] == [4, 5, 6]
    assert len({view.group_id for view in views}) == 1
    assert views[0].group_id
    assert [view.id for view in views] == sorted(view.id for view in views)
    named = await farm.create(request(n=2, group_id="mine"))
    assert {view.group_id for view in named} == {"mine"}


async def test_an_idempotency_key_creates_once(farm: Farm) -> None:
    answers = await asyncio.gather(*(farm.create(request(n=2), idempotency_key="k") for _ in range(5)))
    assert len({tuple(view.id for view in answer) for answer in answers}) == 1
    with pytest.raises(Conflict, match="another body"):
        await farm.create(request(n=3), idempotency_key="k")
    other = await farm.create(request(n=2), run="other", idempotency_key="k")
    assert other[0].id != answers[0][0].id
    assert len((await farm.list_episodes()).items) == 4
    with pytest.raises(BadRequest, match="Idempotency-Key"):
        await farm.create(request(), idempotency_key="")


async def test_tasks_are_picked_by_dataset(farm: Farm) -> None:
    picked = [await create(farm, task_id=None, dataset="toy", index=index) for index in (0, 1)]
    assert [view.task for view in picked] == ["toy/one", "toy/two"]
    seeds = {(await create(farm, task_id=None, dataset="toy", seed=7)).task for _ in range(3)}
    assert len(seeds) == 1
    for wrong in ({"dataset": "toy", "index": 2}, {"dataset": "none", "index": 0}, {"task_id": "toy/onne"}):
        with pytest.raises(NotFound):
            await create(farm, **{"task_id": None, **wrong})
    with pytest.raises(NotFound):
        await create(farm, task_id=None, dataset="toy", split="test", index=0)


async def test_a_full_farm_says_so_at_creation(farm: Farm) -> None:
    for _ in range(7):
        await farm.create(request(n=10))
    with pytest.raises(FarmFull):
        await farm.create(request())
    assert sum(farm.counts().values()) == 70


async def test_a_start_that_fails_is_tried_again(farm: Farm, backend: SimulatedBackend) -> None:
    backend.failures = [SandboxStartError("no room"), SandboxStartError("no room")]
    view = await create(farm)
    assert (await farm.episode(view.id, wait=10)).state == "running"


async def test_a_start_that_always_fails_fails_the_episode_with_its_cause(
    farm: Farm, backend: SimulatedBackend
) -> None:
    backend.failures = [SandboxStartError("no room") for _ in range(20)]
    view = await create(farm)
    assert (await farm.episode(view.id, wait=10)).state == "failed"
    reward = await farm.reward(view.id)
    assert (reward.status, reward.value) == ("error", None)
    assert "no room" in (reward.reason or "")
    with pytest.raises(Gone, match="no room"):
        await farm.step(view.id, bash("true"))


async def test_a_start_waits_for_a_database_that_is_away(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = farm.store._batch.apply
    calls = 0

    def shaky(*arguments: Any) -> int:
        nonlocal calls
        calls += 1
        if calls in (2, 4):  # to `starting`, to `running`
            raise OSError("the database is away")
        return apply(*arguments)

    monkeypatch.setattr(farm.store._batch, "apply", shaky)
    id = (await create(farm)).id
    assert (await farm.episode(id, wait=20)).state == "running"
    assert calls >= 5


async def test_a_change_whose_confirmation_was_lost_did_happen(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    id = (await create(farm)).id
    await farm.episode(id, wait=10)
    episode = farm.core.live[id]
    await farm.core.change(episode, "scoring")
    episode.state = "running"  # what memory still says when the commit arrived and its confirmation did not
    await farm.core.change(episode, "scoring")
    assert episode.state == "scoring"


async def test_finish_from_outside_scores(farm: Farm) -> None:
    id = (await create(farm)).id
    view = await farm.finish(id, FinishRequest(reason="length"))
    assert view.state in ("scoring", "scored")
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value, reward.truncated) == ("done", 0.0, True)
    assert (await farm.finish(id, FinishRequest(reason="length"))).state == "scored"


async def test_finish_waits_for_the_step_in_flight(farm: Farm, backend: SimulatedBackend) -> None:
    id = (await create(farm)).id
    await farm.episode(id, wait=10)
    backend.latency = 0.1
    step = asyncio.create_task(farm.step(id, bash("echo 1 > /mark")))
    await asyncio.sleep(0.02)
    await farm.finish(id, FinishRequest())
    assert (await farm.reward(id, wait=10)).value == 1.0
    assert (await step) is not None


async def test_abort_and_cancel_give_no_score(farm: Farm, backend: SimulatedBackend) -> None:
    first = (await create(farm)).id
    second = (await create(farm)).id
    await farm.episode(first, wait=10)
    assert (await farm.finish(first, FinishRequest(reason="abort"))).state == "cancelled"
    assert (await farm.cancel(second)).state == "cancelled"
    assert (await farm.cancel(second)).state == "cancelled"
    for id in (first, second):
        reward = await farm.reward(id)
        assert (reward.status, reward.value) == ("invalid", None)
        with pytest.raises(Gone, match="cancelled"):
            await farm.step(id, bash("true"))
        with pytest.raises(Gone, match="cancelled"):
            await farm.finish(id, FinishRequest())
    assert (await farm.stats()).items == []
    await asyncio.sleep(0.05)
    assert backend.sandboxes == {}


async def test_cancel_meets_a_start_at_any_point(farm: Farm, backend: SimulatedBackend) -> None:
    for delay in range(12):
        id = (await create(farm)).id
        await asyncio.sleep(delay * 0.001)
        assert (await farm.cancel(id)).state == "cancelled"
    await asyncio.sleep(0.1)
    assert backend.sandboxes == {}
    assert farm.counts() == {}


async def test_cancel_stops_the_step_in_flight(farm: Farm, backend: SimulatedBackend) -> None:
    id = (await create(farm)).id
    await farm.episode(id, wait=10)
    backend.latency = 30
    step = asyncio.create_task(farm.step(id, bash("true")))
    await asyncio.sleep(0.02)
    await farm.cancel(id)
    with pytest.raises(Gone, match="cancelled"):
        await step


async def test_cancel_while_it_is_scored(farm: Farm, backend: SimulatedBackend) -> None:
    id = (await create(farm)).id
    await farm.episode(id, wait=10)
    backend.latency = 0.2
    await farm.finish(id, FinishRequest())
    assert (await farm.cancel(id)).state == "cancelled"
    assert (await farm.reward(id, wait=1)).status == "invalid"


async def test_a_deleted_episode_is_not_found(farm: Farm) -> None:
    id = await play(farm, 1.0)
    live = (await create(farm)).id
    for one in (id, live):
        await farm.delete(one)
        with pytest.raises(NotFound):
            await farm.episode(one)
    assert (await farm.list_episodes()).items == []
    assert (await farm.rewards()).items == []
    with pytest.raises(NotFound):
        await farm.delete("ep-none")


async def test_lists_are_paged(farm: Farm) -> None:
    await farm.create(request(n=5), run="a")
    await farm.create(request(n=2), run="b")
    found, cursor = [], None
    while True:
        page = await farm.list_episodes(run="a", cursor=cursor, limit=2)
        found += [view.id for view in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert len(found) == 5
    assert found == sorted(found, reverse=True)
    assert (await farm.list_episodes(state="scored")).items == []
    with pytest.raises(BadRequest, match="cursor"):
        await farm.list_episodes(cursor="%%%")


async def test_tasks_are_paged_and_have_tools(farm: Farm) -> None:
    tasks = await farm.tasks(limit=1)
    assert [task.id for task in tasks.items] == ["toy/one"]
    rest = await farm.tasks(cursor=tasks.next, limit=1)
    assert [task.id for task in rest.items] == ["toy/two"]
    assert rest.next is None
    assert len((await farm.tasks(split="train", dataset="toy", kind="toy")).items) == 2
    assert (await farm.tasks(split="test")).items == []
    assert (await farm.task("toy/one")).instruction
    assert [tool.root["function"]["name"] for tool in (await farm.tools()).items] == ["bash", "finish"]


async def test_steps_are_paged(farm: Farm) -> None:
    id = (await create(farm)).id
    for number in range(5):
        await farm.step(id, bash("true", step_id=f"s{number}"))
    page = await farm.steps(id, limit=3)
    rest = await farm.steps(id, cursor=page.next, limit=3)
    assert [step.step_id for step in [*page.items, *rest.items]] == [f"s{number}" for number in range(5)]
    assert rest.next is None
    with pytest.raises(BadRequest, match="cursor"):
        await farm.steps(id, cursor="%%%")
    with pytest.raises(NotFound):
        await farm.steps("ep-none")


async def test_the_reward_feed_resumes_and_waits(farm: Farm) -> None:
    first = await play(farm, 1.0)
    await play(farm, 0.0)
    feed = await farm.rewards(limit=1)
    assert [reward.episode for reward in feed.items] == [first]
    assert len((await farm.rewards(after=feed.next)).items) == 1
    feed = await farm.rewards()
    assert (await farm.rewards(after=feed.next)).items == []
    waiting = asyncio.create_task(farm.rewards(after=feed.next, wait=10))
    third = await play(farm, 0.5)
    assert [reward.episode for reward in (await waiting).items] == [third]
    assert (await farm.rewards(run="other")).items == []


async def test_events_resume_after_any_id_and_filter_by_run(farm: Farm) -> None:
    await farm.create(request(), run="a")
    await farm.create(request(), run="b")
    await asyncio.sleep(0.1)
    everything = []
    async for event in farm.events(after=0):
        everything.append(event)
        if len(everything) == 6:
            break
    assert {event.run for event in everything} == {"a", "b"}
    async for event in farm.events(after=everything[2].id):
        assert event == everything[3]
        break
    async for event in farm.events(run="b", after=0):
        assert event == next(one for one in everything if one.run == "b")
        break
    new = farm.events()
    waiting = asyncio.ensure_future(anext(new))
    await asyncio.sleep(0.05)
    await farm.create(request(), run="c")
    assert (await asyncio.wait_for(waiting, 5)).run == "c"


async def test_statistics_count_only_what_is_done(farm: Farm, toy: Any) -> None:
    await play(farm, 1.0, policy_version="p1")
    await play(farm, 0.5, policy_version="p2")
    await play(farm, 1.0, policy_version="p2", task_id="toy/two")
    await farm.cancel((await create(farm)).id)
    toy.faults.append(ValueError("a bug"))
    broken = (await create(farm)).id
    await farm.finish(broken, FinishRequest())
    assert (await farm.reward(broken, wait=10)).status == "error"
    one, two = (await farm.stats()).items
    assert (one.task, one.attempts, one.passes, one.invalid, one.mean) == ("toy/one", 2, 1, 1, 0.75)
    assert one.by_policy_version["p1"].passes == 1
    assert one.by_policy_version["p2"].mean == 0.5
    assert (two.task, two.ema) == ("toy/two", 1.0)
    assert [stats.task for stats in (await farm.stats(dataset="toy", limit=1)).items] == ["toy/one"]
    assert (await farm.stats(run="other")).items == []


async def test_a_run_has_quotas(farm: Farm) -> None:
    limits = EpisodeLimits(max_turns=3)
    view = await farm.put_run("r", RunRequest(max_concurrent=1, lease_s=50, limits=limits))
    assert (view.max_concurrent, view.lease_s, view.limits.max_turns) == (1, 50, 3)
    first, second = await farm.create(request(n=2), run="r")
    assert first.limits.max_turns == 3
    assert (await farm.episode(first.id, wait=10)).state == "running"
    await asyncio.sleep(0.05)
    assert (await farm.episode(second.id)).state == "queued"
    assert (await farm.run("r")).episodes == {"running": 1, "queued": 1}
    await farm.cancel(first.id)
    assert (await farm.episode(second.id, wait=10)).state == "running"
    with pytest.raises(NotFound):
        await farm.run("none")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_what_another_server_drives_is_seen_but_not_touched(open_farm: Any) -> None:
    here, there = await open_farm("here"), await open_farm("there")
    id = (await create(here)).id
    await here.episode(id, wait=10)
    assert (await there.episode(id)).state == "running"
    for touch in (there.step(id, bash("true")), there.finish(id, FinishRequest()), there.cancel(id), there.delete(id)):
        with pytest.raises(Elsewhere, match="driven by another server, here; send it there") as refused:
            await touch
        assert not refused.value.retryable
    waiting = asyncio.create_task(there.reward(id, wait=10))
    await here.step(id, bash("echo 1 > /mark"))
    await here.finish(id, FinishRequest())
    assert (await waiting).value == 1.0
    assert [reward.episode for reward in (await there.rewards()).items] == [id]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_an_episode_whose_server_is_gone_is_told_as_such(open_farm: Any) -> None:
    here, there = await open_farm("here"), await open_farm("there")
    id = (await create(here)).id
    await here.episode(id, wait=10)
    await here.close()
    assert (await there.episode(id)).reason == "its server here stopped; it goes on when that one starts again"
    killed = {"heartbeat_at": time.time() - 1000, "left_at": None}
    long_ago = update(tables.servers).where(tables.servers.c.id == "here").values(**killed)
    await there.store.write(Change(guard=(long_ago, {})))
    view = await there.episode(id)
    assert view.state == "running"
    assert view.reason is not None
    assert re.fullmatch(r"nothing was heard for 1\d\d\d s of its server here; it goes on when .*", view.reason)
    with pytest.raises(Elsewhere, match=f"episode {id}: nothing was heard"):
        await there.cancel(id)
    here = await open_farm("here")
    assert (await there.episode(id)).reason is None
    assert (await here.cancel(id)).state == "cancelled"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_run_of_higher_priority_starts_first(open_farm: Any) -> None:
    farm = await open_farm(capacity=1)
    await farm.put_run("vip", RunRequest(priority=1))
    holder = await create(farm)
    await farm.episode(holder.id, wait=10)
    plain, vip, late = [(await farm.create(request(), run=run))[0].id for run in ("plain", "vip", "late")]
    await asyncio.sleep(0.1)
    await farm.put_run("late", RunRequest(priority=2))
    order = []
    for _ in range(3):
        await farm.cancel(holder.id)
        while not (ready := [id for id in (plain, vip, late) if (await farm.episode(id, wait=1)).state == "running"]):
            pass
        order.extend(ready)
        holder = await farm.episode(ready[0])
    assert order == [late, vip, plain]


async def test_a_farm_says_whether_it_is_ready(farm: Farm) -> None:
    view = await farm.ready()
    assert (view.ready, view.checks) == (True, {"store": "ok", "backend": "ok"})


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_takeover_needs_a_shared_database(open_farm: Any) -> None:
    with pytest.raises(SettingsError, match="takeover: only servers that share a PostgreSQL"):
        await open_farm(takeover=True)
