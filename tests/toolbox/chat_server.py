"""A local server that speaks the chat API: it decodes what it is sent, and answers by a script."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Asked = dict[str, Any]
"""The JSON body of one request."""


@dataclass
class Says:
    """One answer: text, or another status, or what a broken server does."""

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    body: bytes | None = None  # instead of an answer of the API
    stall: bool = False  # never answers
    drop: bool = False  # closes the connection


Script = Callable[[Asked], Says]


def call(name: str, **arguments: str) -> Says:
    """An answer that calls one tool."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return Says(tool_calls=[{"id": "c", "type": "function", "function": function}], finish_reason="tool_calls")


class ChatServer:
    """Answers from `script` in turn, its last entry for ever; keeps every request."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.keys: list[str | None] = []
        self.script: list[Says | Script] = [Says("hello")]
        self.url = ""
        self.live = self.most = 0  # requests at the same time, now and at most
        self.gate: asyncio.Event | None = None  # holds every answer back until it is set
        self._stalled = asyncio.Event()

    @property
    def images(self) -> list[list[bytes]]:
        """The images of each request, decoded, in the order sent."""
        return [_images(body) for body in self.asked]

    def digests(self, call: int = -1) -> list[str]:
        """The SHA-256 of each image of one request."""
        return [hashlib.sha256(data).hexdigest() for data in self.images[call]]

    def said_to(self, call: int = -1) -> str:
        """All text of one request."""
        return "\n".join(_texts(self.asked[call]))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body: Asked = await request.json()
        turn = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.asked.append(body)
        self.keys.append(request.headers.get("Authorization"))
        self.live += 1
        self.most = max(self.most, self.live)
        try:
            if self.gate is not None:
                await self.gate.wait()
            return await self._say(request, turn if isinstance(turn, Says) else turn(body))
        finally:
            self.live -= 1

    async def _say(self, request: web.Request, says: Says) -> web.StreamResponse:
        if says.stall:
            await self._stalled.wait()
        if says.drop:
            assert request.transport is not None
            request.transport.close()
        if says.body is not None or says.status != 200:
            return web.Response(
                body=says.body or b'{"error": {"message": "no"}}', status=says.status, headers=says.headers
            )
        message: dict[str, Any] = {"role": "assistant", "content": says.text}
        if says.refusal is not None:
            message["refusal"] = says.refusal
        if says.tool_calls is not None:
            message["tool_calls"] = says.tool_calls
        return web.json_response(
            {
                "choices": [{"message": message, "finish_reason": says.finish_reason}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10},
            }
        )

    def let_go(self) -> None:
        """Let what stalls end, so that the server can."""
        self._stalled.set()


@asynccontextmanager
async def chat_server() -> AsyncIterator[ChatServer]:
    """A server on a free port of this machine."""
    server = ChatServer()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        server.let_go()
        await runner.cleanup()


def _parts(body: Asked) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for message in body["messages"]:
        content = message["content"]
        found += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return found


def _images(body: Asked) -> list[bytes]:
    urls = [part["image_url"]["url"] for part in _parts(body) if part["type"] == "image_url"]
    return [base64.b64decode(url.partition(",")[2], validate=True) for url in urls]


def _texts(body: Asked) -> list[str]:
    return [part["text"] for part in _parts(body) if part["type"] == "text"]


def as_json(value: Any) -> str:
    """JSON as a model writes it."""
    return json.dumps(value)
