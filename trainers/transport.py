"""How the client talks: one connection pool, retries of what may be repeated, errors with types.

ClientError             an error that a server answered with; `status`, `type` and `episode` say which
├── Refused             the request is wrong
├── Unauthorized        the token is missing, wrong, or not for this
├── NotFound            there is no such task, episode, step, file
├── Conflict            it contradicts what already happened
├── Gone                the episode ended, or its lease expired
├── Full                no room now, or a quota is used up
├── FarmFailed          a fault of the farm, never a mistake of the model
│   └── Elsewhere       another server drives the episode
└── Disconnected        no answer, after all attempts
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

import aiohttp

Json = dict[str, Any]

T = TypeVar("T")

AWAY = frozenset({429, 502, 503, 504})
"""Statuses of a server that is full, starts again, or cannot be reached by a proxy."""

BROKEN = (aiohttp.ClientError, TimeoutError)
"""What a connection that breaks, or never was, raises."""


_SILENCE = 45.0  # seconds; the server gives a sign of life every 15


class ClientError(Exception):
    """An error that the server answered with, or `Disconnected`. `retry_after` is in seconds."""

    statuses: ClassVar[tuple[int, ...]] = ()

    def __init__(
        self, message: str, *, type: str, status: int, retryable: bool, episode: str | None, retry_after: float | None
    ) -> None:
        super().__init__(message)
        self.type = type
        self.status = status
        self.retryable = retryable
        self.episode = episode
        self.retry_after = retry_after


class Refused(ClientError):
    """The request is wrong; the message says what and the fix."""

    statuses = (400, 405, 413, 422)


class Unauthorized(ClientError):
    """The token is missing, wrong, or not for this."""

    statuses = (401, 403)


class NotFound(ClientError):
    """There is no such task, episode, step, file."""

    statuses = (404,)


class Conflict(ClientError):
    """It contradicts what already happened."""

    statuses = (409,)


class Gone(ClientError):
    """The episode ended, or its lease expired."""

    statuses = (410,)


class Full(ClientError):
    """No room now, or a quota is used up."""

    statuses = (429,)


class FarmFailed(ClientError):
    """A fault of the farm: never count it as a mistake of the model."""


class Disconnected(ClientError):
    """No answer, after all attempts."""


class Elsewhere(FarmFailed):
    """Another server drives the episode, and none of ours is that one."""

    statuses = (421,)


class Transport:
    """Requests to the servers of one farm, one at a time. `timeout` and `patience` as in Client."""

    def __init__(self, urls: Sequence[str], token: str | None, timeout: float, patience: float) -> None:
        if not urls:
            raise ValueError("url: give at least one server's address")
        self.urls = [url.rstrip("/") for url in urls]
        self._first = 0  # the server that answered last
        self.timeout = timeout
        self.patience = patience
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """The server that answered last."""
        return self.urls[self._first]

    def turn(self) -> None:
        """Begin with the next server from now on."""
        self._first = (self._first + 1) % len(self.urls)

    def open(self) -> None:
        """Make the connection pool."""
        # Thousands of rollouts wait at once: no limit here, the server's quotas are the limit.
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(headers=self._headers, connector=connector, json_serialize=_dumps)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
    ) -> Json:
        """One call, tried again while that makes sense; `wait` is what the server may take by request, in seconds.

        Raises ClientError.
        """

        async def once(url: str) -> Json:
            send = self.stream(method, url + path, query or {}, headers or {}, body, self.timeout + wait)
            async with send as answer:
                return {} if answer.status == 204 else _object(await answer.read())

        return await self.insist(f"{method} {path}", once)

    async def insist(self, what: str, once: Callable[[str], Awaitable[T]]) -> T:
        """Do something again, from its start, until a server answers it or patience ends. Raises ClientError.

        A server that is away, or does not drive the episode, is followed by the next one.
        """
        deadline = time.monotonic() + self.patience
        pause, at, strangers = 0.1, self._first, 0
        while True:
            url = self.urls[at % len(self.urls)]
            try:
                done = await once(url)
            except BROKEN as cause:
                failure = _disconnected(f"{what} at {url}: {type(cause).__name__} {cause}".rstrip())
            except Elsewhere:
                strangers += 1
                if strangers >= len(self.urls):
                    raise
                at += 1
                continue  # an answer is not a failure: the next one is asked at once
            except ClientError as error:
                # 503 without Retry-After is an episode's lost sandbox: it stays lost
                if error.status not in AWAY or (error.status == 503 and error.retry_after is None):
                    raise
                failure = error
            else:
                self._first = self._first if strangers else at % len(self.urls)
                return done
            delay = self._delay(failure, pause)
            if time.monotonic() + delay > deadline:
                raise failure
            await asyncio.sleep(delay)
            pause, at = min(5.0, pause * 2), at + (failure.status != 429)

    def _delay(self, failure: ClientError, pause: float) -> float:
        """Seconds until the next attempt: as the server says, but of one that is away only where there is no other."""
        alone = failure.status == 429 or len(self.urls) == 1  # a full farm is full at every server
        return max(failure.retry_after or 0.0 if alone else 0.0, pause * random.uniform(0.5, 1.0))

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        query: Mapping[str, Any],
        headers: Mapping[str, str],
        body: Any,
        total: float | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One attempt, whose answer is read in the block; `total` is its time in seconds, None as long as bytes come.

        Raises ClientError, and what is in BROKEN.
        """
        if self._session is None:
            raise RuntimeError("use the client in `async with Client(…) as client:`")
        silence = None if total is not None else max(self.timeout, _SILENCE)
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=10, sock_read=silence)
        send: dict[str, Any] = {"headers": headers, "timeout": timeout}
        send["params"] = {key: str(value) for key, value in query.items() if value is not None}
        if body is not None:
            send["json"] = {key: value for key, value in body.items() if value is not None}
        async with self._session.request(method, url, **send) as answer:
            if answer.status >= 400:
                raise _error(answer, await answer.read())
            yield answer

    async def pages(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Every item of a paged list."""
        cursor = None
        while True:
            page = await self.request("GET", path, query={**query, "cursor": cursor})
            for item in page["items"]:
                yield item
            if (cursor := page["next"]) is None:
                return


def _dumps(value: Any) -> str:
    """JSON that every server reads: a model's text may hold halves of surrogate pairs, which are no Unicode."""
    text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _error(answer: aiohttp.ClientResponse, data: bytes) -> ClientError:
    try:
        body = json.loads(data)["error"]
    except (ValueError, KeyError, TypeError):  # not from the farm: a proxy between us
        text = data[:200].decode("utf-8", "replace")
        body = {"type": "infra_error", "message": f"{answer.status} {text}", "retryable": answer.status >= 500}
    after = answer.headers.get("Retry-After", "")
    kinds = (Refused, Unauthorized, NotFound, Conflict, Gone, Full, Elsewhere)
    kind = next((kind for kind in kinds if answer.status in kind.statuses), FarmFailed)
    return kind(
        body["message"],
        type=body["type"],
        status=answer.status,
        retryable=body["retryable"],
        episode=body.get("episode"),
        retry_after=float(after) if after.isdigit() else None,
    )


def _object(data: bytes) -> Json:
    try:
        found: Json = json.loads(data)
    except ValueError as error:  # cut short, or by a proxy
        raise aiohttp.ClientPayloadError(f"the answer is no JSON: {error}") from None
    return found


def _disconnected(message: str) -> ClientError:
    return Disconnected(message, type="disconnected", status=0, retryable=True, episode=None, retry_after=None)
