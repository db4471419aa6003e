"""What a trainer imports, against the real server: episodes that are held, kept alive, closed and rewarded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from envfarm.toolbox.errors import BackendUnavailable
from envfarm.trainers.client import Conflict, Farm, NullReward, Refused, Reward, SyncFarm

Api = Any
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

WRITE = {"name": "bash", "arguments": {"command": "echo 1 > /mark"}}


async def test_an_episode_from_create_to_reward(api: Api) -> None:
    async with Farm(api.url, run="r") as farm, farm.episode("toy/one") as episode:
        assert episode.messages[0].content.startswith("Write 1")
        assert [tool["function"]["name"] for tool in episode.tools] == ["bash", "finish"]
        await episode.ready()
        step = await episode.step(WRITE)
        assert (step.turn, step.done, step.results[0].exit_code) == (0, False, 0)
        assert (await episode.call("bash", command="cat /mark")).content == "1\n"
        reward = await episode.reward()  # finishes it
    assert (reward.scored, reward.value, float(reward), reward.or_none(), reward.run) == (True, 1.0, 1.0, 1.0, "r")
    assert (await api.get(f"/v1/episodes/{episode.id}")).json["state"] == "scored"


async def test_a_fault_of_the_farm_is_no_number(api: Api, toy: Any) -> None:
    toy.faults.extend(BackendUnavailable("no engine") for _ in range(10))
    async with Farm(api.url) as farm, farm.episode("toy/one") as episode:
        reward = await episode.reward()
    assert (reward.status, reward.scored, reward.or_none()) == ("error", False, None)
    for use in (lambda: reward.value, lambda: float(reward)):
        with pytest.raises(NullReward, match=episode.id):
            use()
    with pytest.raises(TypeError):
        sum([reward, reward])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"reward\.scored"):
        bool(reward)


async def test_a_step_that_is_sent_again_runs_once(api: Api) -> None:
    async with Farm(api.url) as farm, farm.episode("toy/one") as episode:
        count = {"name": "bash", "arguments": {"command": "echo x >> /count; wc -l < /count"}}
        first = await episode.step(count)
        episode.turn = 0  # as after an answer that was lost
        assert await episode.step(count) == first
        episode.turn = 0
        with pytest.raises(Conflict):
            await episode.step(WRITE)


async def test_whatever_was_not_finished_is_cancelled_on_every_path(api: Api) -> None:
    seen: list[str] = []
    async with Farm(api.url) as farm:

        async def breaks() -> None:
            async with farm.group("toy/one", 3) as group:
                seen.extend(one.id for one in group)
                raise RuntimeError("the trainer broke")

        with pytest.raises(RuntimeError, match="the trainer"):
            await breaks()

        async def rollout() -> None:
            async with farm.episode("toy/two") as episode:
                seen.append(episode.id)
                started.set()
                await asyncio.Event().wait()

        started = asyncio.Event()
        task = asyncio.create_task(rollout())
        await started.wait()
        task.cancel()
        await asyncio.wait([task])
        seen += [one.id for one in await farm.create("toy/one", 2)]  # left to the end of the farm's block
    states = [(await api.get(f"/v1/episodes/{id}")).json["state"] for id in seen]
    assert states == ["cancelled"] * 6


async def test_a_group_comes_as_it_is_ready(api: Api) -> None:
    async with Farm(api.url) as farm, farm.group("toy/one", 3) as group:
        assert len({one.view.group_id for one in group}) == 1
        await group[1].step(WRITE)
        await group[2].cancel()
        values = {episode.id: reward.or_none() async for episode, reward in farm.as_completed(group)}
    assert values == {group[0].id: 0.0, group[1].id: 1.0, group[2].id: None}


async def test_leases_are_renewed_in_the_background(api: Api) -> None:
    async with Farm(api.url, run="short") as farm:
        await farm.put_run("short", lease_s=0.6)
        async with farm.episode("toy/one") as episode:
            assert episode.view.lease_s == 0.6
            await episode.ready()
            await asyncio.sleep(1.2)  # twice its lease, with no call about it
            assert (await api.get("/v1/episodes?run=short")).json["items"][0]["state"] == "running"


async def test_it_rests_and_goes_on_under_another_policy(api: Api) -> None:
    async with Farm(api.url) as farm, farm.episode("toy/one", policy_version="v1") as episode:
        await episode.step(WRITE)
        await episode.suspend(300)
        assert episode.view.suspended_until is not None
        with pytest.raises(Conflict, match="suspended"):
            await episode.step(WRITE)
        await episode.resume("v2")
        await episode.step(WRITE)
        assert (await episode.reward()).policy_version == "v2"


async def test_a_fork_that_did_not_work_can_be_asked_for_otherwise(api: Api, backend: Any) -> None:
    async with Farm(api.url) as farm, farm.episode("toy/one") as episode:
        with pytest.raises(Refused):
            await farm.fork(episode, 1000)
        await episode.ready()
        assert len(await farm.fork(episode, 2)) == 2


async def test_tasks_are_drawn_by_how_they_went(api: Api) -> None:
    async with Farm(api.url) as farm:
        async with farm.episode("toy/one") as episode:
            await episode.step(WRITE)
            assert (await episode.reward()).value == 1.0
        [drawn] = await farm.sample(1, dataset="toy", pass_rate=[0.5, 1.0], new=0)
        assert (drawn.task, drawn.attempts, drawn.pass_rate) == ("toy/one", 1, 1.0)
        with pytest.raises(Refused, match="pass_rate"):
            await farm.sample(1, pass_rate=[1.0, 0.5])


async def test_another_server_is_asked_where_one_is_away_or_a_stranger(api: Api, unused_tcp_port: int) -> None:
    async def stranger(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        error = {"type": "infra_error", "message": "server b drives it", "retryable": False}
        return web.json_response({"error": error}, status=421)

    asked: list[str] = []
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stranger)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", unused_tcp_port)
    await site.start()
    other = f"http://127.0.0.1:{unused_tcp_port}"
    try:
        async with Farm([other, api.url]) as farm, farm.episode("toy/one") as episode:
            await episode.step(WRITE)
            assert asked
            await runner.cleanup()  # now it is away
            assert (await episode.reward()).value == 1.0
    finally:
        await runner.cleanup()


async def test_without_await(api: Api) -> None:
    def train() -> Reward:
        with SyncFarm(api.url, run="r") as farm:
            assert [task.id for task in farm.tasks(dataset="toy")] == ["toy/one", "toy/two"]
            with pytest.raises(Refused):
                farm.create("toy/one", 0)
            with farm.group("toy/one", 2) as group:
                group[0].step(WRITE)
                rewards = {episode.id: reward for episode, reward in farm.as_completed(group)}
                assert rewards[group[1].id].value == 0.0
            with farm.episode("toy/two") as left:
                left.call("bash", command="true")
            return rewards[group[0].id]

    assert (await asyncio.to_thread(train)).value == 1.0
    states = sorted(one["state"] for one in (await api.get("/v1/episodes?run=r")).json["items"])
    assert states == ["cancelled", "scored", "scored"]
