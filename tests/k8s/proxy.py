"""A way to the API server that a test can cut and stall."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

_ABORT = struct.pack("ii", 1, 0)


class Proxy:
    """Passes connections on to a server, until it is told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.away = False  # refuses new connections
        self.cuts = 0
        self.left: dict[str, int] = {}  # bytes `up` (to the server) or `down` until the next cut

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._open.set()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection at both ends."""
        self.cuts += 1
        self.left.clear()
        for writer in list(self._writers):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            writer.transport.abort()

    def stall(self) -> None:
        """Pass nothing on any more, and keep every connection open."""
        self._open.clear()

    def go_on(self) -> None:
        """Pass on what was kept back, and all that comes."""
        self._open.set()

    @contextlib.asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Cut everything, and refuse to connect while this lasts."""
        self.away = True
        self.cut()
        yield
        self.away = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(*self._target)
        self._writers |= {writer, back}
        pumps = [
            asyncio.create_task(self._pump(reader, back, "up")),
            asyncio.create_task(self._pump(there, writer, "down")),
        ]
        self._tasks |= set(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for one in (writer, back):
            one.transport.abort()
            self._writers.discard(one)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(64 << 10):
                await self._open.wait()
                if way in self.left:
                    self.left[way] -= len(data)
                    if self.left[way] <= 0:
                        writer.write(data[: self.left[way]] if self.left[way] else data)
                        self.cut()
                        return
                writer.write(data)
                await writer.drain()
