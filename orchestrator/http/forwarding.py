"""Forwarding: a call about an episode that another server drives is answered by that one, through this one."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from envfarm.orchestrator.errors import Elsewhere, Moving

if TYPE_CHECKING:
    from envfarm.orchestrator.farm.farm import Farm

HOP = "Envfarm-Forwarded-By"
"""Names the server that forwarded a request: one that has it is never forwarded again."""

_CONNECT = 3.0  # seconds
_LOOK = 2.0  # seconds between two looks at whether the server that we wait for is still there
_WHOLE = 1 << 20  # bytes of an answer that is not streamed
_HINTS = 50_000  # episodes of which is known who drives them
_MISDIRECTED = 421
_NOT_SENT = frozenset({"host", "origin", "content-length", "content-encoding"})  # the body was unpacked here
_OF_ONE_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
     "upgrade", "date", "server"}
)  # fmt: skip

T = TypeVar("T")


class Forwarder:
    """Sends requests on to the other servers of the farm."""

    def __init__(self, farm: Farm, prefix: str = "") -> None:
        self.farm = farm
        self.prefix = prefix  # of what is sent: servers ask each other at the one port that they advertise
        self._session: aiohttp.ClientSession | None = None
        self._hints: dict[str, str] = {}

    async def life(self, _: web.Application) -> AsyncIterator[None]:
        """Its connections, for as long as the application runs."""
        yield
        if self._session is not None:
            await self._session.close()

    async def about(self, http: web.Request, id: str) -> web.StreamResponse | None:
        """The answer of the server that drives an episode; None where this one must answer.

        What is only read is read from the store when that server is away. Raises Moving, StoreError.
        """
        if self.farm.servers.alone:
            return None
        if HOP in http.headers:
            await self._see_that_it_is_here(http, id)
            return None
        for _ in range(2):
            owner = await self._owner(id)
            url = None if owner is None else await self.farm.servers.url_of(owner)
            if owner is None or url is None:
                return None
            try:
                answer = await self._relay(http, owner, url)
            except Moving:
                self._hints.pop(id, None)
                if http.method == "GET":
                    return None
                raise
            if answer is not None:
                return answer
            self._hints.pop(id, None)  # it changed hands since we knew
        raise Moving(f"episode {id} is changing hands; send the same again")

    async def artifact(self, http: web.Request) -> web.StreamResponse | None:
        """The answer of the first other server that has what this one has not; None when none has it."""
        if self.farm.servers.alone or HOP in http.headers:
            return None
        for peer in self.farm.servers.peers():
            try:
                url = await self.farm.servers.url_of(peer)
                answer = None if url is None else await self._relay(http, peer, url, only_found=True)
            except Moving:
                continue
            if answer is not None:
                return answer
        return None

    async def split(self, ids: list[str], http: web.Request) -> dict[str, list[str]]:
        """Which other servers drive which of some episodes, of those servers that can be reached. Raises StoreError."""
        found: dict[str, list[str]] = {}
        if HOP not in http.headers:
            for id, owner in (await self.farm.owners(ids)).items():
                if await self.farm.servers.url_of(owner) is not None:
                    found.setdefault(owner, []).append(id)
        return found

    async def ask(self, http: web.Request, owner: str, body: Any) -> Any:
        """What another server answers to this request with another body, as JSON. Raises Moving."""
        url = await self.farm.servers.url_of(owner)
        assert url is not None
        async with self._sent(http, owner, url, json.dumps(body).encode()) as answer:
            data = await self._watched(answer.read(), owner)
            if answer.status != 200:
                raise _away(owner, f"it answered {answer.status}")
            return json.loads(data)

    async def _see_that_it_is_here(self, http: web.Request, id: str) -> None:
        """Raise Elsewhere for a request whose sender did not know yet that an episode changed hands."""
        if (owner := (await self.farm.owners([id])).get(id)) is not None:
            raise Elsewhere(f"episode {id} is driven by {owner}, not by the server that {http.headers[HOP]} asked")

    async def _owner(self, id: str) -> str | None:
        """The other server that drives an episode, if one does. Raises StoreError."""
        if id in self.farm.core.live:
            return None
        owner = self._hints.get(id)
        if owner is None and (owner := (await self.farm.owners([id])).get(id)) is not None:
            while len(self._hints) >= _HINTS:
                del self._hints[next(iter(self._hints))]
            self._hints[id] = owner
        return owner

    async def _relay(
        self, http: web.Request, owner: str, url: str, *, only_found: bool = False
    ) -> web.StreamResponse | None:
        """Another server's answer; None when it does not drive the episode, or has no such file. Raises Moving."""
        async with self._sent(http, owner, url, await http.read()) as answer:
            if answer.status == _MISDIRECTED or (only_found and answer.status >= 400):
                return None
            headers = _passed(answer.headers)
            if answer.status == 204 or (answer.content_length is not None and answer.content_length <= _WHOLE):
                body = await self._watched(answer.read(), owner)
                return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=body)
            response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
            await response.prepare(http)
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            except (aiohttp.ClientError, ConnectionError):
                if http.transport is not None:
                    http.transport.abort()  # an end that looks like one would make half of it the whole
            return response

    @asynccontextmanager
    async def _sent(
        self, http: web.Request, owner: str, url: str, body: bytes
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """This request, sent to another server, which may take as long as it likes while it lives. Raises Moving."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
            connector = aiohttp.TCPConnector(limit=0)
            # Bytes are passed on as they come, packed or not.
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=False)
        headers = _passed(http.headers)
        for name in _NOT_SENT:
            headers.popall(name, None)
        headers[HOP] = self.farm.core.owner
        target = URL(url.rstrip("/") + self.prefix + http.raw_path, encoded=True)
        try:
            request = self._session.request(
                http.method, target, headers=headers, data=io.BytesIO(body) if body else None, allow_redirects=False
            )
            answer = await self._watched(request, owner)
        except (aiohttp.ClientError, OSError) as error:
            raise _away(owner, f"{type(error).__name__} {error}") from None
        try:
            yield answer
        except (aiohttp.ClientError, OSError) as error:
            raise _away(owner, f"{type(error).__name__} {error}") from None
        finally:
            answer.release()

    async def _watched(self, work: Awaitable[T], owner: str) -> T:
        """What another server gives, for as long as it is not gone: one that hangs would hang us. Raises Moving."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=_LOOK)
                if not task.done() and self.farm.servers.gone(owner):
                    raise _away(owner, "it is gone")
            return task.result()
        finally:
            task.cancel()


def _passed(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers that are meant for more than one hop."""
    named = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _OF_ONE_HOP | named)


def _away(owner: str, why: str) -> Moving:
    return Moving(f"the server {owner} does not answer ({why[:200].strip()}); send the same again")


FORWARDER: web.AppKey[Forwarder] = web.AppKey("forwarder", Forwarder)
