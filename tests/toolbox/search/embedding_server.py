"""A local server that speaks the embeddings API: a text's vector is of its words, by their digests."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

SIZE = 64


def vector(text: str, size: int = SIZE) -> list[float]:
    """Counts of a text's words, each in a place that its digest says; texts with the same words have the same."""
    numbers = [0.0] * size
    for word in re.findall(r"\w+", text.casefold()) or [""]:
        numbers[hashlib.sha256(word.encode()).digest()[0] % size] += 1.0
    return numbers


class EmbeddingServer:
    """Answers with `vector`, or with the next of `faults`: a status, or a whole answer."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.faults: list[int | dict[str, Any] | None] = []
        self.live = self.most = 0  # calls at the same time, now and at most

    @property
    def texts(self) -> list[str]:
        """All that was embedded, in its order."""
        return [text for body in self.bodies for text in body["input"]]

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.keys.append(request.headers.get("Authorization"))
        self.live += 1
        self.most = max(self.most, self.live)
        await asyncio.sleep(0)
        self.live -= 1
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            return web.json_response({"error": {"message": "no"}}, status=fault)
        if fault is not None:
            return web.json_response(fault)
        self.bodies.append(body)
        size = body.get("dimensions", SIZE)
        data = [{"index": number, "embedding": vector(text, size)} for number, text in enumerate(body["input"])]
        return web.json_response({"object": "list", "model": body["model"], "data": data[::-1]})


@asynccontextmanager
async def embedding_server() -> AsyncIterator[EmbeddingServer]:
    """A server on a free port of this machine."""
    server = EmbeddingServer()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/embeddings", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()
