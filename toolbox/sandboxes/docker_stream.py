"""Docker's attach: the hijacked connection to a container's main process, read by asyncio."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

from envfarm.toolbox.errors import BackendUnavailable, SandboxError, SandboxLost

_HEADER = struct.Struct(">BxxxL")
ATTACH = 30.0
"""Seconds in which the engine must answer a request to attach."""
_WRITE_HIGH = 1 << 20


class DockerStream(asyncio.Protocol):
    """The demultiplexed stream of an attached container without a terminal."""

    def __init__(self, feed: Callable[[int, bytes], None], closed: Callable[[], None]) -> None:
        self._feed = feed
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._upgraded = False
        self._let_go = False
        self.upgraded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._can_write = asyncio.Event()
        self._can_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but does not say so
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH)

    def data_received(self, data: bytes) -> None:
        if not self._upgraded:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = bytes(self._buffer[:end]), bytes(self._buffer[end + 4 :])
            self._buffer.clear()
            self._take_answer(head)
        self._demultiplex(data)

    def _take_answer(self, head: bytes) -> None:
        status = head.split(b"\r\n", 1)[0].split(b" ")
        self._upgraded = True
        if self.upgraded.done():
            return
        if len(status) > 1 and status[1] in (b"101", b"200"):
            self.upgraded.set_result(None)
        elif len(status) > 1 and status[1] == b"404":
            self.upgraded.set_exception(SandboxLost("the container is gone", cause="removed"))
        else:
            self.upgraded.set_exception(SandboxError(f"the engine refused to attach: {head.decode('latin-1')}"))

    def _demultiplex(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
            data = bytes(self._buffer)
            self._buffer.clear()
        at, size = 0, len(data)
        while size - at >= 8 and not self._let_go:
            stream, length = _HEADER.unpack_from(data, at)
            if size - at - 8 < length:
                break
            self._feed(stream, data[at + 8 : at + 8 + length])
            at += 8 + length
        if at < size:
            self._buffer += data[at:]

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._can_write.set()
        if not self.upgraded.done():
            self.upgraded.set_exception(BackendUnavailable("the engine closed the connection"))
            self.upgraded.exception()
        elif not self._let_go:
            self._closed()

    def write(self, data: bytes) -> None:
        """Queue bytes for the main process's standard input."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until less than a megabyte is queued."""
        await self._can_write.wait()

    def pause(self) -> None:
        """Read no more until `resume`; the main process then waits when it prints much."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Let go of the connection; neither callback is called any more."""
        self._let_go = True
        if self._transport is not None:
            self._transport.abort()


async def attach(
    url: str,
    container: str,
    feed: Callable[[int, bytes], None],
    closed: Callable[[], None],
    *,
    tls: ssl.SSLContext | None = None,
    logs: bool = False,
) -> DockerStream:
    """Attach to a container. Raises BackendUnavailable, SandboxLost."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    try:
        if parts.scheme == "unix":
            _, stream = await loop.create_unix_connection(lambda: DockerStream(feed, closed), parts.path)
        else:
            _, stream = await loop.create_connection(
                lambda: DockerStream(feed, closed), parts.hostname or "localhost", parts.port or 2375, ssl=tls
            )
    except OSError as error:
        raise BackendUnavailable(f"no engine answers at {url}: {error}") from None
    query = f"stream=1&stdin=1&stdout=1&stderr=1{'&logs=1' if logs else ''}"
    stream.write(
        f"POST /containers/{container}/attach?{query} HTTP/1.1\r\nHost: docker\r\n"
        "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
    )
    try:
        async with asyncio.timeout(ATTACH):
            await stream.upgraded
    except TimeoutError:
        stream.close()
        raise BackendUnavailable(f"the engine at {url} did not attach in {ATTACH:g} s") from None
    except BaseException:
        stream.close()
        raise
    return stream
