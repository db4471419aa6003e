"""Server-sent events, as in the WHATWG HTML standard, §9.2."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

from aiohttp import web

from envfarm.orchestrator.schemas.episodes import Event

T = TypeVar("T")

STREAMS: web.AppKey[set[asyncio.Task[None]]] = web.AppKey("streams")
_PING = 15.0  # seconds between signs of life, so that proxies and we notice a dead peer
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


async def stream(
    http: web.Request, events: AsyncIterator[T], *, encode: Callable[[T], bytes], head: bytes = b""
) -> web.StreamResponse:
    """Send events until they end, the client leaves or the server shuts down."""
    response = web.StreamResponse(headers=_HEADERS)
    await response.prepare(http)
    await response.write(head)
    # A task of its own: shutting down cancels it and not the request, whose answer then ends properly.
    task = asyncio.create_task(_pump(response, events, encode))
    http.app[STREAMS].add(task)
    try:
        await asyncio.wait([task])
    finally:
        http.app[STREAMS].discard(task)
        task.cancel()
    if not task.cancelled():
        task.result()
    return response


async def shut_down(app: web.Application) -> None:
    """End all streams, so that the server's end does not wait for them."""
    for task in app[STREAMS]:
        task.cancel()


def encode(event: Event) -> bytes:
    """One event as it goes over the wire: JSON has no line breaks, so one `data` line is enough."""
    return f"id: {event.id}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n".encode()


async def _pump(response: web.StreamResponse, events: AsyncIterator[T], encode: Callable[[T], bytes]) -> None:
    upcoming: asyncio.Future[T] | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(events))
            await asyncio.wait([upcoming], timeout=_PING)
            if not upcoming.done():
                await response.write(b": ping\n\n")
                continue
            event, upcoming = upcoming.result(), None
            await response.write(encode(event))
    except (ConnectionError, StopAsyncIteration):
        return  # the client left, or the farm closed
    finally:
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.wait([upcoming])
        if isinstance(events, AsyncGenerator):
            await events.aclose()
