"""Server-sent events, with resume."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from envfarm.orchestrator.farm.farm import Farm

Api = Any
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@asynccontextmanager
async def listening(api: Api, query: str = "", **headers: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The events of a stream, each checked against the fields of its frame."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with api.session.get(f"{api.url}/v1/events{query}", headers=named) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"

        async def events() -> AsyncIterator[dict[str, Any]]:
            fields: dict[str, str] = {}
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "data" in fields:
                    event = json.loads(fields["data"])
                    assert (int(fields["id"]), fields["event"]) == (event["id"], event["type"])
                    yield event
                    fields = {}

        yield events()


async def take(events: AsyncIterator[dict[str, Any]], last: str) -> list[dict[str, Any]]:
    """Events up to the first of a type, or to the stream's end."""
    taken = []
    async with asyncio.timeout(10):
        async for event in events:
            taken.append(event)
            if event["type"] == last:
                break
    return taken


async def play(api: Api, run: str) -> str:
    id = str(await api.running(run=run))
    await api.step(id, "true")
    await api.post(f"/v1/episodes/{id}/finish")
    await api.get(f"/v1/episodes/{id}/reward?wait=10")
    return id


async def test_an_episodes_events_as_they_happen(api: Api) -> None:
    async with listening(api) as events:
        id = await play(api, "r")
        taken = await take(events, "reward.ready")
    assert {event["episode"] for event in taken} == {id}
    states = [event["data"]["state"] for event in taken if event["type"] == "episode.state"]
    assert states[:4] == ["queued", "starting", "running", "scoring"]
    assert [event["type"] for event in taken if event["type"].startswith("step.")] == ["step.started", "step.finished"]
    ids = [event["id"] for event in taken]
    assert ids == sorted(set(ids))


async def test_a_stream_resumes_without_gap_or_repetition(api: Api) -> None:
    await play(api, "r")
    async with listening(api, "?after=0") as events:
        everything = await take(events, "reward.ready")
    for cut in (0, len(everything) // 2, len(everything) - 2):
        async with listening(api, Last_Event_ID=str(everything[cut]["id"])) as events:
            rest = await take(events, "reward.ready")
        assert [event["id"] for event in rest] == [event["id"] for event in everything[cut + 1 :]]


async def test_events_of_one_run(api: Api) -> None:
    await play(api, "a")
    await play(api, "b")
    async with listening(api, "?run=b&after=0") as events:
        taken = await take(events, "reward.ready")
    assert {event["run"] for event in taken} == {"b"}


async def test_a_wrong_last_event_id(api: Api) -> None:
    for wrong in ("x", "-1", "1" * 40):
        answer = await api.get("/v1/events", headers={"Last-Event-ID": wrong})
        assert answer.status == 400
        assert "Last-Event-ID" in answer.error["message"]


async def test_an_open_stream_does_not_hold_up_the_servers_end(serve: Any, farm: Farm) -> None:
    api = await serve(farm)
    async with listening(api) as events:
        waiting = asyncio.create_task(take(events, "never"))
        await asyncio.sleep(0.05)
        await api.runner.cleanup()
        assert await waiting == []
