"""How the client talks: one connection pool, retries of what may be repeated, errors with types."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
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


class Transport:
    """Requests to one server. `timeout` and `patience` as in Client."""

    def __init__(self, url: str, token: str | None, timeout: float, patience: float) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.patience = patience
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Make the connection pool."""
        # Thousands of rollouts wait at once: no limit here, the server's quotas are the limit.
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(headers=self._headers, connector=connector)

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

        async def once() -> Json:
            async with self.stream(method, path, query or {}, headers or {}, body, self.timeout + wait) as answer:
                return {} if answer.status == 204 else _object(await answer.read())

        return await self.insist(f"{method} {path}", once)

    async def insist(self, what: str, once: Callable[[], Awaitable[T]]) -> T:
        """Do something again, from its start, until the server answers it or patience ends. Raises ClientError."""
        deadline = time.monotonic() + self.patience
        pause = 0.1
        while True:
            try:
                return await once()
            except BROKEN as cause:
                failure = _disconnected(f"{what} at {self.url}: {type(cause).__name__} {cause}".rstrip())
            except ClientError as error:
                # 503 without Retry-After is an episode's lost sandbox: it stays lost
                if error.status not in AWAY or (error.status == 503 and error.retry_after is None):
                    raise
                failure = error
            delay = max(failure.retry_after or 0.0, pause * random.uniform(0.5, 1.0))
            if time.monotonic() + delay > deadline:
                raise failure
            await asyncio.sleep(delay)
            pause = min(5.0, pause * 2)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
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
        async with self._session.request(method, self.url + path, **send) as answer:
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


def _error(answer: aiohttp.ClientResponse, data: bytes) -> ClientError:
    try:
        body = json.loads(data)["error"]
    except (ValueError, KeyError, TypeError):  # not from the farm: a proxy between us
        text = data[:200].decode("utf-8", "replace")
        body = {"type": "infra_error", "message": f"{answer.status} {text}", "retryable": answer.status >= 500}
    after = answer.headers.get("Retry-After", "")
    kinds = (Refused, Unauthorized, NotFound, Conflict, Gone, Full)
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
