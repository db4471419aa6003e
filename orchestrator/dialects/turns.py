"""One call at a time: agents may send several at once, and an episode takes one step after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from aiohttp import web

TURNS: web.AppKey[WeakValueDictionary[str, asyncio.Lock]] = web.AppKey("turns")


@asynccontextmanager
async def in_turn(app: web.Application, episode: str) -> AsyncIterator[None]:
    """Wait until no other call of the episode runs, in the order in which they came."""
    lock = app[TURNS].setdefault(episode, asyncio.Lock())  # weak: there as long as somebody holds it or waits for it
    async with lock:
        yield
