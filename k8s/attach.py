"""Kubernetes' attach: the WebSocket to a container's main process (a stand-in until branch attach brings its own)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from kubernetes.aio.client import ApiClient

from envfarm.k8s.client import authorization
from envfarm.toolbox.errors import BackendUnavailable, SandboxLost


class AttachStream:
    """The way to a main process."""

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self._socket = socket
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, feed: Callable[[int, bytes], None], closed: Callable[[], None]) -> None:
        async def read() -> None:
            async for message in self._socket:
                if message.type == aiohttp.WSMsgType.BINARY and message.data[0] in (1, 2) and len(message.data) > 1:
                    feed(message.data[0], message.data[1:])
            closed()
            await self._session.close()

        async def write() -> None:
            while True:
                data = await self._queue.get()
                for at in range(0, len(data), 1 << 18):
                    await self._socket.send_bytes(b"\0" + data[at : at + (1 << 18)])
                self._queue.task_done()

        self._tasks = [asyncio.create_task(read()), asyncio.create_task(write())]

    def write(self, data: bytes) -> None:
        """Queue bytes."""
        self._queue.put_nowait(data)

    async def drain(self) -> None:
        """Wait until all is sent."""
        await self._queue.join()

    def close(self) -> None:
        """Let go."""
        self._tasks[1].cancel()
        self._tasks.append(asyncio.create_task(self._close()))

    async def _close(self) -> None:
        await self._socket.close()
        await self._session.close()


async def attach(
    client: ApiClient,
    namespace: str,
    pod: str,
    container: str,
    feed: Callable[[int, bytes], None],
    closed: Callable[[], None],
) -> AttachStream:
    """Attach. Raises BackendUnavailable, SandboxLost."""
    url = f"{client.configuration.host}/api/v1/namespaces/{namespace}/pods/{pod}/attach"
    query = {"container": container, "stdin": "true", "stdout": "true", "stderr": "true"}
    connector = aiohttp.TCPConnector(ssl=client.rest_client.ssl_context)
    session = aiohttp.ClientSession(connector=connector, trust_env=True)
    try:
        socket = await session.ws_connect(
            url, params=query, headers=await authorization(client),
            protocols=("v5.channel.k8s.io", "v4.channel.k8s.io"), max_msg_size=0, heartbeat=15,
        )  # fmt: skip
    except aiohttp.WSServerHandshakeError as error:
        await session.close()
        raise SandboxLost(f"cannot attach: {error}", cause="removed" if error.status == 404 else "stream") from None
    except (aiohttp.ClientError, OSError) as error:
        await session.close()
        raise BackendUnavailable(f"cannot attach: {error}") from None
    stream = AttachStream(session, socket)
    stream.begin(feed, closed)
    return stream
