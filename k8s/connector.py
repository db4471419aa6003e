"""aiohttp's connections, all of them over when their connector is closed."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

_TURNS = 10  # of the loop, in which a connection that was aborted ends


class Connector(aiohttp.TCPConnector):
    """Ends its TLS connections without a farewell when it is closed.

    aiohttp says farewell for a request that is cancelled, and forgets the connection, which can outlive the loop.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._alive: set[asyncio.Transport] = set()

    async def _create_connection(self, *arguments: Any, **options: Any) -> Any:
        """A new connection, as aiohttp makes it."""
        protocol = await super()._create_connection(*arguments, **options)
        transport, closed = protocol.transport, protocol.closed
        if self.closed:
            protocol.abort()
            raise aiohttp.ClientConnectionError("the connection was closed while it was made")
        if isinstance(transport, asyncio.Transport) and closed is not None:
            self._alive.add(transport)
            closed.add_done_callback(lambda end: self._ended(transport, end))
        return protocol

    def _ended(self, transport: asyncio.Transport, end: asyncio.Future[None]) -> None:
        self._alive.discard(transport)
        if not end.cancelled():
            end.exception()  # how it ended is no news to anybody

    async def close(self, *, abort_ssl: bool = True) -> None:
        """End every connection now."""
        await super().close(abort_ssl=abort_ssl)
        for transport in list(self._alive):
            transport.abort()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            if not self._alive:
                break
