"""What the server is answering now, so that its own end is an answer too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web

from envfarm.orchestrator.farm.steps import ShuttingDown

T = TypeVar("T")

_GRACE = 0.5  # seconds for what is about to be answered anyway


class InFlight:
    """The requests that are being answered."""

    def __init__(self) -> None:
        self.closing = False
        self._requests: set[asyncio.Task[object]] = set()

    async def answer(self, work: Awaitable[T]) -> T:
        """Wait for an answer that the server's end may cut short. Raises ShuttingDown."""
        task = asyncio.current_task()
        assert task is not None
        self._requests.add(task)
        try:
            return await work
        except asyncio.CancelledError:
            if not self.closing:
                raise
            task.uncancel()
            raise ShuttingDown("the server is shutting down; send the same again") from None
        finally:
            self._requests.discard(task)

    async def end(self, app: web.Application) -> None:
        """Cut short what waits: long polls would hold up the server's end, and die without an answer."""
        self.closing = True
        if self._requests:
            await asyncio.wait(self._requests, timeout=_GRACE)
        for task in self._requests:
            task.cancel()


IN_FLIGHT: web.AppKey[InFlight] = web.AppKey("in_flight", InFlight)
