"""What all dialects share with `/v1`: they are off until asked for, and any server of the farm takes a call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from envfarm.orchestrator.farm.farm import Farm

Api = Any  # conftest.Api; tests are no package

SESSION = {"Mcp-Session-Id": "one", "Accept": "application/json, text/event-stream"}
LAST = SESSION | {"Mcp-Protocol-Version": "2025-11-25"}


def bash(id: int, command: str) -> dict[str, Any]:
    params = {"name": "bash", "arguments": {"command": command}}
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


async def test_off_until_asked_for(api: Api, farm: Farm, serve: Any) -> None:
    id = await api.running()
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert (await api.post(f"/mcp/{id}", ping)).status == 404
    assert "/mcp/{id}" not in (await api.get("/openapi.json")).json["paths"]
    other = await serve(farm, dialects=["mcp"])
    assert (await other.post(f"/mcp/{id}", ping)).status == 200
    assert "/mcp/{id}" in (await other.get("/openapi.json")).json["paths"]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_the_server_that_drives_an_episode_is_asked(join: Any) -> None:
    _, one = await join("one", dialects=["mcp"])
    _, two = await join("two", dialects=["mcp"])
    id = await one.running()
    call = bash(1, "echo 1 > /mark")
    first = await two.post(f"/mcp/{id}", call, headers=LAST)
    assert first.headers["Content-Type"].startswith("text/event-stream")
    assert first.data.startswith(b"id: 1\nretry: ")
    assert (await one.post(f"/mcp/{id}", call, headers=LAST)).data == first.data
    assert (await one.get(f"/v1/episodes/{id}")).json["turn"] == 1


async def test_older_clients_get_no_event_without_data(farm: Farm, serve: Any) -> None:
    api = await serve(farm, dialects=["mcp"])
    answer = await api.post(f"/mcp/{await api.running()}", bash(1, "true"), headers=SESSION)
    assert answer.data.startswith(b"event: message\ndata: {")


async def test_a_server_that_ends_ends_its_streams_and_they_go_on(farm: Farm, serve: Any, backend: Any) -> None:
    api, next_api = await serve(farm, dialects=["mcp"]), await serve(farm, dialects=["mcp"])
    id = await api.running()
    backend.latency = 1.0
    cut = asyncio.create_task(api.post(f"/mcp/{id}", bash(1, "echo 1 > /mark"), headers=LAST))
    while not (await next_api.get(f"/v1/episodes/{id}/steps")).json["items"]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await api.runner.cleanup()
    assert b"jsonrpc" not in (await cut).data  # a proper end, without an answer
    rest = await next_api.get(f"/mcp/{id}", headers=LAST | {"Last-Event-ID": "1"})
    assert b'"isError":false' in rest.data
    assert (await next_api.get(f"/v1/episodes/{id}")).json["turn"] == 1


async def test_a_stream_that_nobody_opened(farm: Farm, serve: Any) -> None:
    api = await serve(farm, dialects=["mcp"])
    id = await api.running()
    assert (await api.get(f"/mcp/{id}", headers=LAST)).status == 405
    assert (await api.get(f"/mcp/{id}", headers=LAST | {"Last-Event-ID": "x"})).status == 400
    unknown = await api.get(f"/mcp/{id}", headers=LAST | {"Last-Event-ID": "9"})
    assert b'"type":"not_found"' in unknown.data


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_a_session_that_the_path_does_not_name_is_found_too(join: Any) -> None:
    farm, one = await join("one", dialects=["ors"])
    _, two = await join("two", dialects=["ors"])
    session = {"X-Session-ID": "mine"}
    [task, *_] = farm.registry.all()
    spec = {"task_spec": {"task_id": task.id}}
    assert (await one.post("/ors/create", spec, headers=session)).status == 200
    again = await two.post("/ors/create", spec, headers=session)
    assert again.status == 200
    assert len((await one.get("/v1/episodes")).json["items"]) == 1
    call = {"name": "bash", "input": {"command": "echo 1 > /mark"}}
    answer = await two.post("/ors/call", call, headers=session)
    assert b'event: end\ndata: {"ok":true' in answer.data
    assert (await two.post("/ors/ping", {}, headers=session)).status == 200
    assert (await two.post("/ors/delete", {}, headers=session)).status == 200
    assert (await one.post("/ors/ping", {}, headers=session)).status == 410
