"""Kubernetes' attach: the WebSocket to a pod's main process, read and written by asyncio."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client import ApiClient

from envfarm.k8s.client import authorization, said
from envfarm.k8s.connector import Connector
from envfarm.toolbox.errors import BackendUnavailable, SandboxLost

ATTACH = 30.0
"""Seconds in which the API server must answer a request to attach."""
PING = 10.0
"""Seconds of silence until a ping goes; a peer that says nothing for three times as long is dead."""
CHUNK = 256 << 10
"""Bytes of one message to the main process; servers and proxies limit them."""
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR = b"\0", 1, 2, 3
_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10
_WRITE_HIGH = 1 << 20
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of RFC 6455
_STATUS = 16 << 10  # bytes that are kept of what the error channel says


class AttachStream(asyncio.Protocol):
    """The demultiplexed stream of an attached container without a terminal.

    aiohttp shakes hands; then the connection is ours: its own reader takes a task, and a turn of the loop a message.
    """

    def __init__(self, feed: Callable[[int, bytes], None], closed: Callable[[], None]) -> None:
        self._feed = feed
        self._closed = closed
        self._response: aiohttp.ClientResponse | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = b""  # the beginning of a frame's header, or of a control frame
        self._left = 0  # bytes of a frame's payload that are still to come
        self._channel = -1  # of the message that is being read, -1 before its first byte
        self._status = b""
        self._ended = False
        self._heard = True
        self._quiet = 0
        self._unsent = 0
        self._tick: asyncio.TimerHandle | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()

    @property
    def cause(self) -> str:
        """What the server said of the stream's end, empty where it said nothing."""
        try:
            status = json.loads(self._status)
        except ValueError:
            return self._status.decode("utf-8", "replace").strip()
        if not isinstance(status, dict) or status.get("status") == "Success":
            return ""
        return str(status.get("message") or status.get("reason") or "").strip()

    def take(self, response: aiohttp.ClientResponse) -> None:
        """Take the connection over from aiohttp, with what came right after its answer.

        Raises ClientConnectionError: it is broken already.
        """
        connection = response.connection
        transport = connection.transport if connection is not None else None
        if connection is None or connection.protocol is None or transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionError("the connection broke as soon as it was made")
        self._response = response
        self._transport = transport
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH)
        connection.protocol.set_parser(_Rest(self), None)
        self._transport.set_protocol(self)
        self._tick = asyncio.get_running_loop().call_later(PING, self._listen)

    # what comes

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at, size = 0, len(data)
        while not self._ended:
            if self._left:
                end = min(at + self._left, size)
                self._left -= end - at
                self._payload(data[at:end])
                at = end
                if self._left:
                    return
            if size - at < 2:
                break
            opcode, length, start = data[at] & 15, data[at + 1], at + 2
            if length >= 126:  # a server masks nothing, so that no bit of it is set but for the length
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : start], "big")
            if size < start or (opcode >= _CLOSE and size - start < length):
                break
            if opcode >= _CLOSE:
                at = start + length
                self._control(opcode, data[start:at])
                continue
            if opcode:  # not the continuation of a message
                self._channel = -1
            self._left, at = length, start
        self._buffer = data[at:]

    def _payload(self, data: bytes) -> None:
        if self._channel < 0 and data:
            self._channel = data[0]
            data = data[1:]
        if not data:
            return
        if self._channel in (_STDOUT, _STDERR):
            self._feed(self._channel, data)
        elif self._channel == _ERROR:
            self._status = (self._status + data)[:_STATUS]

    def _control(self, opcode: int, data: bytes) -> None:
        if opcode == _PING:
            self._send(_PONG, data)
        elif opcode == _CLOSE:
            self._send(_CLOSE, data[:2])
            assert self._transport is not None
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended:
            self._end()
            self._closed()

    # what goes

    def write(self, data: bytes) -> None:
        """Queue bytes for the main process's standard input; after the stream's end they are dropped."""
        for start in range(0, len(data), CHUNK):
            self._send(_BINARY, _STDIN + data[start : start + CHUNK])

    def _send(self, opcode: int, data: bytes) -> None:
        if self._transport is None or self._ended or self._transport.is_closing():
            return
        size = len(data)
        if size < 126:
            head = bytes((0x80 | opcode, 0x80 | size))
        elif size < 1 << 16:
            head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
        key = os.urandom(4)
        mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
        self._transport.write(head + key + (int.from_bytes(data, "little") ^ mask).to_bytes(size, "little"))

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    async def drain(self) -> None:
        """Wait until less than a megabyte is queued."""
        await self._can_write.wait()

    # its life

    def _listen(self) -> None:
        """Ping a silent peer, and give up one that does not even answer that."""
        assert self._transport is not None
        unsent = self._transport.get_write_buffer_size()
        alive = self._heard or unsent < self._unsent or not self._transport.is_reading()
        self._quiet = 0 if alive else self._quiet + 1
        self._heard, self._unsent = False, unsent
        if self._quiet == 1:
            self._send(_PING, b"")
        elif self._quiet > 2:
            self._status = b"the server has not answered for %d s" % (3 * PING)
            self._transport.abort()
            return
        self._tick = asyncio.get_running_loop().call_later(PING, self._listen)

    def pause(self) -> None:
        """Read no more until `resume`; the main process then waits when it prints much."""
        if self._transport is not None and not self._ended:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._ended:
            self._transport.resume_reading()

    def close(self) -> None:
        """Let go of the connection; neither callback is called any more."""
        if not self._ended:
            self._end()
            if self._transport is not None:
                self._transport.abort()

    def _end(self) -> None:
        self._ended = True
        self._can_write.set()
        if self._tick is not None:
            self._tick.cancel()
        if self._response is not None:
            self._response.close()


class _Rest:
    """Where aiohttp puts what it read beyond the server's answer."""

    def __init__(self, stream: AttachStream) -> None:
        self._stream = stream

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._stream.data_received(data)
        return False, b""


async def attach(
    client: ApiClient,
    namespace: str,
    pod: str,
    container: str,
    feed: Callable[[int, bytes], None],
    closed: Callable[[], None],
) -> AttachStream:
    """Attach to a container's main process. Raises BackendUnavailable, SandboxLost (there is no such pod)."""
    options = await _options(client)
    query = urlencode({"container": container, "stdin": "true", "stdout": "true", "stderr": "true"})
    url = f"{client.configuration.host}/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/attach?{query}"
    stream = AttachStream(feed, closed)
    # A connector of its own: the client's has room for so many requests at once, and a held stream never ends.
    session = aiohttp.ClientSession(
        connector=Connector(ssl=client.rest_client.ssl_context, force_close=True), trust_env=True
    )
    response: aiohttp.ClientResponse | None = None
    try:
        async with asyncio.timeout(ATTACH):
            response = await session.get(url, **options)
            if response.status != 101:
                raise _refused(pod, response.status, await response.read())
        _check(options["headers"]["Sec-WebSocket-Key"], response)
        stream.take(response)
        session.detach()
        return stream
    except TimeoutError:
        raise BackendUnavailable(f"the API server did not attach to {pod} in {ATTACH:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise BackendUnavailable(f"no API server answers at {client.configuration.host}: {error}") from None
    finally:
        if not session.closed:
            if response is not None:
                response.close()  # first: the session trips over a connection that is gone
            await session.close()


async def _options(client: ApiClient) -> dict[str, Any]:
    """What a request needs by the client's configuration, its token renewed, and by the WebSocket protocol."""
    configuration = client.configuration
    headers = {
        **client.default_headers,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": ", ".join(PROTOCOLS),
        **await authorization(client),
    }
    options: dict[str, Any] = {"headers": headers, "allow_redirects": False}
    options["timeout"] = aiohttp.ClientTimeout(total=None)
    options["read_until_eof"] = False
    if configuration.tls_server_name:
        options["server_hostname"] = configuration.tls_server_name
    if configuration.proxy:
        options["proxy"] = configuration.proxy
    if configuration.proxy_headers:
        options["proxy_headers"] = configuration.proxy_headers
    return options


def _refused(pod: str, status: int, body: bytes) -> BackendUnavailable | SandboxLost:
    """The error for an answer that is no stream."""
    why, _ = said(body)
    if status == 404:
        return SandboxLost(f"the pod {pod} is gone: {why}", cause="removed")
    if status in (401, 403):
        return BackendUnavailable(f"the API server refuses get and create of pods/attach ({status}): {why}")
    return BackendUnavailable(f"the API server did not attach to {pod} ({status}): {why}")


def _check(key: str, response: aiohttp.ClientResponse) -> None:
    """That it is a WebSocket server of Kubernetes which answers. Raises BackendUnavailable."""
    proof = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    accepted = response.headers.get("Sec-WebSocket-Accept", "")
    protocol = response.headers.get("Sec-WebSocket-Protocol", "")
    if accepted != proof or protocol not in PROTOCOLS:
        raise BackendUnavailable(
            f"no WebSocket of {' or '.join(PROTOCOLS)}: the server, or a proxy, spoke {protocol!r}"
        )
