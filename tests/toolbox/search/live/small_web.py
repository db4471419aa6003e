"""A small web on this machine: a few hosts behind one port, and a search API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from envfarm.toolbox.search.live.config import LiveConfig
from envfarm.toolbox.search.live.retriever import Live

Answer = tuple[int, dict[str, str], bytes]
HTML = {"Content-Type": "text/html; charset=utf-8"}


def html(body: str, title: str = "A page") -> Answer:
    return 200, HTML, f"<html><head><title>{title}</title></head><body>{body}</body></html>".encode()


def redirect(target: str) -> Answer:
    return 302, {"Location": target}, b""


class SmallWeb:
    """Answers by host and path; 404 for the rest. `api` answers searches."""

    def __init__(self) -> None:
        self.port = 0
        self.pages: dict[str, Answer] = {}
        self.api: list[tuple[int, Any]] = [(200, {"results": []})]  # in turn, the last one for ever
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self._end = asyncio.Event()

    def url(self, path: str, host: str = "site.test") -> str:
        return f"http://{host}:{self.port}{path}"

    def results(self, *urls: str) -> None:
        """Let the API find some pages."""
        found = [{"title": f"<b>T</b> {url[-5:]}", "url": url, "content": "some &amp; <em>text</em>"} for url in urls]
        self.api = [(200, {"results": found})]

    def config(self, **more: Any) -> LiveConfig:
        """Settings that can reach it."""
        told: dict[str, Any] = {
            "name": "web",
            "url": f"http://127.0.0.1:{self.port}/api?q={{query}}",
            "allow": [f"site.test:{self.port}", f"*.wide.test:{self.port}", f"inner.test:{self.port}"],
            "private": ["127.0.0.1/32"],
            "hosts": {"site.test": "127.0.0.1", "a.wide.test": "127.0.0.1", "inner.test": "127.0.0.2"},
            "host_rate": 10_000.0,
            "timeout": 20.0,
        }
        return LiveConfig.model_validate(told | more)

    async def answer(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        if request.path == "/api":
            self.asked.append(f"? {request.query['q']}")
            status, body = self.api.pop(0) if len(self.api) > 1 else self.api[0]
            if isinstance(body, bytes):
                return web.Response(status=status, body=body)
            return web.json_response(body, status=status)
        host = request.host.partition(":")[0]
        self.asked.append(f"{host}{request.path}")
        if request.path == "/never":
            await self._end.wait()
        status, headers, body = self.pages.get(f"{host}{request.path}", (404, {}, b""))
        return web.Response(status=status, headers=headers, body=body)

    def end(self) -> None:
        self._end.set()


@asynccontextmanager
async def small_web() -> AsyncIterator[SmallWeb]:
    """The web, for the block."""
    small = SmallWeb()
    app = web.Application()
    app.router.add_get("/{path:.*}", small.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    small.port = runner.addresses[0][1]
    try:
        yield small
    finally:
        small.end()
        await runner.cleanup()


@asynccontextmanager
async def living(config: LiveConfig, data: Path) -> AsyncIterator[Live]:
    """The retriever of some settings."""
    live = config.open(data)
    assert live is not None
    try:
        yield live
    finally:
        await live.close()
