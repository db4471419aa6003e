"""The shipped client plays whole episodes against the real server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from envfarm.trainers.client import Client, Gone, NotFound, Refused

Api = Any
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

WRITE = [{"name": "bash", "arguments": {"command": "echo 1 > /mark"}}]


async def test_an_episode(api: Api) -> None:
    async with Client(api.url, run="r") as client:
        await client.put_run("r", max_concurrent=5)
        [episode] = await client.create("toy/one")
        id = episode["id"]
        assert (await client.episode(id, wait=10))["state"] == "running"
        step = await client.step(id, WRITE, turn=0)
        assert step["results"][0]["exit_code"] == 0
        [batched] = await client.batch([{"episode": id, "calls": WRITE}])
        assert batched["step"]["turn"] == 1
        assert (await client.renew(run="r"))["renewed"] == [id]
        await client.finish(id)
        assert (await client.wait_reward(id))["value"] == 1.0
        assert [one["turn"] async for one in client.steps(id)] == [0, 1]
        assert [one["id"] async for one in client.episodes(run="r")] == [id]
        assert [one["episode"] for one in (await client.rewards())["items"]] == [id]
        names = await client.artifacts(id)
        assert b"1\n" in [await client.artifact(digest) for digest in names.values()]
        assert (await client.get_run("r"))["episodes"] == {"scored": 1}
        assert [one["attempts"] async for one in client.stats(run="r")] == [1]
        await client.delete(id)
        with pytest.raises(NotFound):
            await client.episode(id)


async def test_what_is_there_to_play(api: Api) -> None:
    async with Client(api.url) as client:
        assert [task["id"] async for task in client.tasks(dataset="toy")] == ["toy/one", "toy/two"]
        assert (await client.task("toy/two"))["instruction"].startswith("Write 1")
        assert [tool["name"] for tool in await client.tools(task="toy/one", format="mcp")] == ["bash", "finish"]


async def test_events(api: Api) -> None:
    async with Client(api.url, run="r") as client:

        async def reward() -> str:
            async for event in client.events(after=0):
                if event["type"] == "reward.ready":
                    return str(event["episode"])
            return ""

        waiting = asyncio.create_task(reward())
        [episode] = await client.create("toy/one")
        await client.finish(episode["id"])
        assert await asyncio.wait_for(waiting, 10) == episode["id"]


async def test_errors(api: Api) -> None:
    async with Client(api.url) as client:
        with pytest.raises(Refused, match="n: Input should be"):
            await client.create("toy/one", n=0)
        [episode] = await client.create("toy/one")
        await client.cancel(episode["id"])
        with pytest.raises(Gone):
            await client.step(episode["id"], WRITE)
