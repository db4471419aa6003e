"""An endpoint with an OpenAI-compatible API: one call that is tried again, limited and timed.

FarmFault
└── ModelError              the farm's model did not give an answer that can be used
    ├── ModelUnavailable    it cannot be reached, is overloaded or too slow, after all attempts
    ├── ModelRefused        the endpoint says no, and would again: a wrong key, an unknown model, a bad request
    └── BadAnswer           what came back is no answer of the API
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Self

import aiohttp
from pydantic import BaseModel

from envfarm.toolbox.errors import FarmFault
from envfarm.toolbox.quota import Bucket

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_ANSWER_LIMIT = 32 << 20  # bytes of one answer
_SHOWN = 300  # characters of an endpoint's error
_LONGEST_PAUSE = 30.0  # seconds between attempts, unless Retry-After asks for more


class ModelError(FarmFault):
    """The farm's model did not give an answer that can be used."""


class ModelUnavailable(ModelError):
    """The endpoint cannot be reached, is overloaded or too slow; the message says which, and how often it was tried."""


class ModelRefused(ModelError):
    """The endpoint says no, and would again; the message has its status and words."""

    retryable = False


class BadAnswer(ModelError):
    """What came back is no answer of the API."""


class _Passing(Exception):
    """An attempt that failed and may be made again; `after` is what Retry-After asks for, in seconds."""

    def __init__(self, message: str, *, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard an endpoint is pressed, and for how long. Times are in seconds."""

    timeout: float = 120.0  # of one attempt
    deadline: float = 600.0  # of one call, with all its attempts and the waiting between them
    attempts: int = 5
    pause: float = 0.5  # before the second attempt, doubled after each
    concurrency: int = 8  # calls at the same time
    rate: float | None = None  # attempts a second; None: as many as come

    @classmethod
    def of(cls, config: BaseModel) -> Self:
        """What a table of settings has of them, by the same names."""
        return cls(**config.model_dump(include={one.name for one in fields(cls)}))


class Endpoint:
    """One model at one endpoint; used by many tasks of one event loop at the same time.

    `url` is the API's root, such as `https://host/v1`.
    """

    def __init__(self, url: str, model: str, key: str | None = None, *, limits: Limits = Limits()) -> None:
        self.url, self.model, self.limits = url.rstrip("/"), model, limits
        self._headers = {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._bucket = None if limits.rate is None else Bucket(limits.rate, max(1.0, limits.rate))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, path: str, body: bytes) -> bytes:
        """The answer to a JSON body at a path below the root. Raises ModelUnavailable, ModelRefused, BadAnswer."""
        try:
            async with asyncio.timeout(self.limits.deadline):
                return await self._attempts(path, body)
        except TimeoutError:
            raise ModelUnavailable(f"{self.url}: no answer within {self.limits.deadline:g} s") from None

    async def _attempts(self, path: str, body: bytes) -> bytes:
        pause = self.limits.pause
        for attempt in range(1, self.limits.attempts + 1):
            try:
                async with self._slots:
                    if self._bucket is not None:
                        await asyncio.sleep(self._bucket.take(time.monotonic()))
                    return await self._attempt(path, body)
            except _Passing as problem:
                if attempt == self.limits.attempts:
                    raise ModelUnavailable(f"{self.url}: {problem} ({attempt} attempts)") from None
                # Spread, so that the callers that one overload turned away do not come back together.
                await asyncio.sleep(max(problem.after, pause * random.uniform(0.5, 1.0)))
                pause = min(2 * pause, _LONGEST_PAUSE)
        raise AssertionError("Limits.attempts is at least 1")

    async def _attempt(self, path: str, body: bytes) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        try:
            async with (
                asyncio.timeout(self.limits.timeout),
                self._session.post(f"{self.url}{path}", data=body, headers=self._headers) as response,
            ):
                data = await _read(response)
        except TimeoutError:
            raise _Passing(f"no answer within {self.limits.timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Passing(f"{type(error).__name__}: {error}") from None
        if response.status == 200:
            return data
        said = f"status {response.status}: {' '.join(data[: 4 * _SHOWN].decode('utf-8', 'replace').split())[:_SHOWN]}"
        if response.status in _AGAIN:
            raise _Passing(said, after=_retry_after(response.headers.get("Retry-After", "")))
        raise ModelRefused(f"{self.url}, model {self.model!r}: {said}")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > _ANSWER_LIMIT:
            raise BadAnswer(f"{response.url}: an answer of more than {_ANSWER_LIMIT >> 20} MiB")
    return bytes(data)


def _retry_after(value: str) -> float:
    """Seconds that the header asks for, given as a number or as a date; 0 for what is neither."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
