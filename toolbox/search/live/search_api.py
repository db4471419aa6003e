"""A generic HTTP search API: a url with the query in it, and where in its JSON the results are."""

from __future__ import annotations

import asyncio
import html
import os
import re
import time
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from envfarm.toolbox.quota import Bucket
from envfarm.toolbox.search.base import Hit
from envfarm.toolbox.search.errors import CorpusError, SearchUnavailable
from envfarm.toolbox.search.live.config import LiveConfig
from envfarm.toolbox.search.live.record import Outcome

_ATTEMPTS = 3
_PAUSE = 0.5  # seconds before the second attempt, doubled after each
_TAG = re.compile(r"<[^<>]{0,200}>")
_LONGEST = 1000  # characters of a title or a snippet


class SearchApi:
    """Asks the endpoint that the operator set; it is trusted with the queries, and its results with nothing."""

    def __init__(self, config: LiveConfig) -> None:
        self._config = config
        self._headers = {"Accept": "application/json", "User-Agent": config.agent}
        for name, variable in config.headers.items():
            value = os.environ.get(variable)
            if not value:
                raise CorpusError(f"live.headers.{name}: the variable {variable} is not set")
            self._headers[name] = value
        self._bucket = None if config.rate is None else Bucket(config.rate, max(1.0, config.rate))
        self._left = config.max_searches
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, query: str) -> Outcome:
        """The answer to a query. Raises SearchUnavailable."""
        said = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_PAUSE * 2 ** (attempt - 1))
            await self._spend()
            try:
                async with asyncio.timeout(self._config.timeout):
                    outcome = await self._get(query)
            except TimeoutError:
                said = f"no answer within {self._config.timeout:g} s"
                continue
            except (aiohttp.ClientError, OSError) as error:
                said = type(error).__name__  # its text may have the url, and that a key
                continue
            if outcome.status == 200:
                return outcome
            said = f"status {outcome.status}"
            if outcome.status != 429 and (outcome.status or 0) < 500:
                break
        raise SearchUnavailable(f"live.url: the search API does not answer: {said}")

    async def _spend(self) -> None:
        """Take one request off what is left, when its turn has come. Raises SearchUnavailable."""
        if self._left is not None:
            if self._left <= 0:
                raise SearchUnavailable("live.max_searches are used up; raise it and start the server again")
            self._left -= 1
        if self._bucket is not None:
            await asyncio.sleep(self._bucket.take(time.monotonic()))

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()

    async def _get(self, query: str) -> Outcome:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        url = (self._config.url or "").replace("{query}", quote(query, safe=""))
        async with self._session.get(url, headers=self._headers, allow_redirects=False) as response:
            body = await response.content.read(0)
            async for chunk in response.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > self._config.size:
                    raise SearchUnavailable(f"live.url: an answer of more than {self._config.size} bytes (live.size)")
            return Outcome(status=response.status, type=response.content_type, body=body)


def read_results(body: bytes, config: LiveConfig) -> list[Hit] | None:
    """The results in an answer, in their order, each url once; None where it has no list. Raises SearchUnavailable."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise SearchUnavailable("live.url: the search API's answer is no JSON") from None
    found = _at(answer, config.results)
    if found is None and isinstance(answer, dict):
        return None
    if not isinstance(found, list):
        raise SearchUnavailable(f"live.results: {config.results!r} is no list")
    hits: dict[str, Hit] = {}
    for place, one in enumerate(found, 1):
        url = _at(one, config.link)
        if isinstance(url, str) and url not in hits:
            title, snippet = _text(_at(one, config.title)), _text(_at(one, config.snippet))
            hits[url] = Hit(id=url, title=title or url, url=url, snippet=snippet, score=round(1 / place, 4))
    return list(hits.values())


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    return " ".join(html.unescape(_TAG.sub("", value)).split())[:_LONGEST] if isinstance(value, str) else ""
