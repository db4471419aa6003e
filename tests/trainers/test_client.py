"""The client against a real server, and against servers that fail in every way that networks know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from envfarm.trainers.client import (
    Client,
    Conflict,
    Disconnected,
    FarmFailed,
    Full,
    Gone,
    NotFound,
    Refused,
    Unauthorized,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves a handler for every path, and gives its URL."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler) -> str:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return "http://{}:{}".format(*runner.addresses[0][:2])

        yield start


def error(status: int, type: str, *, retryable: bool = False, **headers: str) -> web.Response:
    body = {"error": {"type": type, "message": f"{type} it is", "retryable": retryable, "episode": "ep-1"}}
    return web.json_response(body, status=status, headers={name.replace("_", "-"): v for name, v in headers.items()})


@pytest.mark.parametrize(
    ("status", "type", "kind"),
    [
        (400, "bad_request", Refused),
        (413, "too_large", Refused),
        (404, "not_found", NotFound),
        (409, "conflict", Conflict),
        (410, "gone", Gone),
        (503, "infra_error", FarmFailed),
        (500, "infra_error", FarmFailed),
    ],
)
async def test_errors_have_types_and_are_not_repeated(serve: Serve, status: int, type: str, kind: Any) -> None:
    seen = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        return error(status, type)

    async with Client(await serve(handler)) as client:
        with pytest.raises(kind, match=f"{type} it is") as caught:
            await client.episode("ep-1")
    assert (caught.value.status, caught.value.type, caught.value.episode) == (status, type, "ep-1")
    assert seen == ["/v1/episodes/ep-1"]


async def test_no_room_is_asked_again_when_the_server_says_so(serve: Serve) -> None:
    times = []

    async def handler(request: web.Request) -> web.StreamResponse:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            return error(429, "quota", retryable=True, Retry_After="1")
        return web.json_response({"episodes": [{"id": "ep-1"}]})

    async with Client(await serve(handler)) as client:
        assert await client.create("t") == [{"id": "ep-1"}]
    assert times[1] - times[0] >= 1


async def test_patience_ends(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return error(429, "quota", retryable=True, Retry_After="3600")

    async with Client(await serve(handler), patience=0.1) as client:
        with pytest.raises(Full) as caught:
            await client.create("t")
    assert caught.value.retry_after == 3600


async def test_a_lost_answer_is_asked_for_again_with_the_same_ids(serve: Serve) -> None:
    sent = []

    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        sent.append((request.headers.get("Idempotency-Key"), body.get("step_id")))
        if len(sent) % 2:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"episodes": [], "results": []})

    async with Client(await serve(handler)) as client:
        await client.create("t")
        await client.step("ep-1", [{"name": "bash", "arguments": {"command": "true"}}])
    assert len(sent) == 4
    assert sent[0] == sent[1]
    assert sent[2] == sent[3]
    assert sent[0][0]
    assert sent[2][1]


async def test_a_server_that_is_away_is_disconnected(unused_tcp_port: int, tmp_path: Path) -> None:
    async with Client(f"http://127.0.0.1:{unused_tcp_port}", patience=0.3) as client:
        with pytest.raises(Disconnected, match="/v1/tasks/x"):
            await client.task("x")
        with pytest.raises(Disconnected, match="/v1/artifacts/sha256:1"):
            await client.artifact("sha256:1")
        with pytest.raises(Disconnected, match="/v1/artifacts/sha256:1"):
            await client.save("sha256:1", tmp_path / "file")
    assert not (tmp_path / "file").exists()


async def test_an_artefact_that_broke_off_is_read_anew(serve: Serve, tmp_path: Path) -> None:
    tries = []

    async def handler(request: web.Request) -> web.StreamResponse:
        tries.append(request.path)
        if len(tries) % 3 == 1:
            return error(503, "infra_error", retryable=True, Retry_After="1")
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        await response.write(b"01234")
        if len(tries) % 3 == 2:
            assert request.transport is not None
            request.transport.close()
        else:
            await response.write(b"56789")
        return response

    async with Client(await serve(handler)) as client:
        assert await client.artifact("sha256:1") == b"0123456789"
        await client.save("sha256:1", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"0123456789"
    assert len(tries) == 6


async def test_an_answer_that_is_none_of_the_farms(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=418, text="<html>a proxy")

    async with Client(await serve(handler)) as client:
        with pytest.raises(FarmFailed, match="418 <html>a proxy"):
            await client.task("x")


async def test_a_long_step_is_polled(serve: Serve) -> None:
    seen = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.raw_path.partition("?")[0]))
        if len(seen) < 3:
            return web.json_response({"step_id": "a/b", "status": "running"}, status=202)
        return web.json_response({"step_id": "a/b", "results": [1]})

    async with Client(await serve(handler)) as client:
        assert (await client.step("ep-1", [], step_id="a/b"))["results"] == [1]
    place = "/v1/episodes/ep-1/steps"
    assert seen == [("POST", place), ("GET", f"{place}/a%2Fb"), ("GET", f"{place}/a%2Fb")]


async def test_events_are_taken_up_where_they_broke(serve: Serve) -> None:
    asked = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.query.get("after"))
        response = web.StreamResponse()
        await response.prepare(request)
        first = 3 * len(asked)
        for id in range(first, first + 3):
            await response.write(f': ping\n\nid: {id}\nevent: x\ndata: {{"id": {id}}}\n\n'.encode())
        return response

    async with Client(await serve(handler)) as client:
        ids = []
        async for event in client.events():
            ids.append(event["id"])
            if len(ids) == 5:
                break
    assert ids == [3, 4, 5, 6, 7]
    assert asked == [None, "5"]


async def test_events_outlive_a_server_that_starts_again(serve: Serve) -> None:
    asked = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.query.get("after"))
        if len(asked) == 2:
            return error(503, "infra_error", retryable=True, Retry_After="1")
        if len(asked) == 3:
            return web.Response(status=502, text="<html>a proxy")
        if len(asked) == 5:
            return error(403, "forbidden")
        response = web.StreamResponse()
        await response.prepare(request)
        whole, cut = f'data: {{"id": {len(asked)}}}\n', 'data: {"id": 9'
        await response.write((whole + cut).encode())
        return response

    async with Client(await serve(handler)) as client:
        events = client.events()
        assert [(await anext(events))["id"], (await anext(events))["id"]] == [1, 4]
        with pytest.raises(Unauthorized):
            await anext(events)
    assert asked == [None, "1", "1", "1", "4"]


async def test_halves_of_surrogate_pairs_are_replaced_and_whole_ones_are_characters(serve: Serve) -> None:
    got = []

    async def handler(request: web.Request) -> web.StreamResponse:
        got.append(json.loads(await request.read()))
        return web.json_response({"results": []})

    async with Client(await serve(handler)) as client:
        await client.step("ep-1", [{"name": "a\ud800", "arguments": {"b\udc00": "\ud83d\ude00 \ue000 é"}}])
    assert got[0]["calls"] == [{"name": "a\ufffd", "arguments": {"b\ufffd": "\U0001f600 \ue000 é"}}]


async def test_pages_are_followed_to_the_end(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        cursor = int(request.query.get("cursor", 0))
        following = str(cursor + 1) if cursor < 2 else None
        return web.json_response({"items": [f"{request.query['dataset']}{cursor}"], "next": following})

    async with Client(await serve(handler)) as client:
        assert [task async for task in client.tasks(dataset="d")] == ["d0", "d1", "d2"]


async def test_the_token_and_an_artefact(serve: Serve, tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer secret"
        return web.Response(body=request.path.encode())

    async with Client(await serve(handler), token="secret") as client:
        assert await client.artifact("sha256:1") == b"/v1/artifacts/sha256:1"
        await client.save("sha256:2", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"/v1/artifacts/sha256:2"
