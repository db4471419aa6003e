"""The server over a toy farm, reached over real HTTP."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDictProxy

from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.http.app import make_app, make_runner
from envfarm.orchestrator.settings import Settings


@dataclass
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def error(self) -> dict[str, Any]:
        """The error shape, which must be all that there is."""
        body = self.json
        assert set(body) == {"error"}
        assert {"type", "message", "retryable"} <= set(body["error"]) <= {"type", "message", "retryable", "episode"}
        assert self.headers["Content-Type"] == "application/json"
        return dict(body["error"])


class Api:
    """Plain requests, with every status an answer."""

    def __init__(self, runner: web.AppRunner, session: aiohttp.ClientSession, token: str | None) -> None:
        self.runner = runner
        self.url = "http://{}:{}".format(*runner.addresses[0][:2])
        self.session = session
        self.token = token

    async def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        options.setdefault("headers", {})
        if self.token is not None:
            options["headers"] = {"Authorization": f"Bearer {self.token}"} | options["headers"]
        if body is not None:
            options["data"] = body if isinstance(body, bytes | io.BytesIO) else json.dumps(body)
        async with self.session.request(method, self.url + path, **options) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self("POST", path, body, **options)

    async def create(self, **request: Any) -> list[dict[str, Any]]:
        answer = await self.post("/v1/episodes", {"task_id": "toy/one"} | request)
        assert answer.status == 202, answer.data
        return list(answer.json["episodes"])

    async def running(self, **request: Any) -> str:
        """The id of a new episode that runs."""
        [episode] = await self.create(**request)
        answer = await self.get(f"/v1/episodes/{episode['id']}?wait=10")
        assert answer.json["state"] == "running"
        return str(episode["id"])

    async def step(self, id: str, *commands: str, step_id: str = "s1", **more: Any) -> Answer:
        calls = [{"id": f"c{n}", "name": "bash", "arguments": {"command": c}} for n, c in enumerate(commands)]
        return await self.post(f"/v1/episodes/{id}/steps", {"step_id": step_id, "calls": calls} | more)


Serve = Callable[..., Awaitable[Api]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Puts farms behind HTTP."""
    async with AsyncExitStack() as stack:

        async def start(
            farm: Farm,
            *,
            token: str | None = None,
            tokens: Sequence[str] = (),
            dialects: Sequence[str] = (),
            body_limit: int = Settings().body_limit,
            port: int = 0,
        ) -> Api:
            runner = make_runner(make_app(farm, body_limit=body_limit, tokens=tokens, dialects=dialects))
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Api(runner, session, token)

        yield start


def free_port() -> int:
    """One that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


Join = Callable[..., Awaitable[tuple[Farm, Api]]]


@pytest.fixture
async def join(open_farm: Callable[..., Awaitable[Farm]], serve: Serve) -> Join:
    """Starts servers of one farm, which reach each other."""

    async def start(
        owner: str,
        *,
        tokens: Sequence[str] = (),
        token: str | None = None,
        dialects: Sequence[str] = (),
        **settings: Any,
    ) -> Any:
        port = free_port()
        farm = await open_farm(owner, advertise=f"http://127.0.0.1:{port}", **settings)
        return farm, await serve(farm, port=port, tokens=tokens, token=token, dialects=dialects)

    return start


@pytest.fixture
async def api(serve: Serve, farm: Farm) -> Api:
    return await serve(farm)
