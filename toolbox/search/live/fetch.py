"""Fetches pages of listed hosts: politely, with limits, and never from a private network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import aiohttp
from yarl import URL

from envfarm.toolbox.quota import Bucket
from envfarm.toolbox.search.errors import DocumentRefused
from envfarm.toolbox.search.live.config import LiveConfig
from envfarm.toolbox.search.live.guard import Hosts, NotPublic, PublicResolver
from envfarm.toolbox.search.live.record import Outcome
from envfarm.toolbox.search.live.robots import NOBODY, Robots, read_robots

T = TypeVar("T")
Keep = Callable[[str, Outcome], None]
"""Is told the answer to a request for a robots.txt, and its url."""

_REDIRECTS = 5
_REDIRECTED = (301, 302, 303, 307, 308)
_TEXTS = ("text/html", "application/xhtml+xml", "text/plain", "text/markdown")
_HOSTS = 4096  # that are remembered
_ROBOTS = 24 * 3600.0  # seconds that a robots.txt counts, RFC 9309, 2.4
_ROBOTS_SIZE = 500 << 10  # bytes of one that are read, RFC 9309, 2.5
_AGAIN = 60.0  # seconds after which one that could not be had is asked for again


class _Failed(Exception):
    """A request that was not answered; it may be another time."""


class Fetcher:
    """Fetches pages for all episodes, each host within its rate."""

    def __init__(self, config: LiveConfig) -> None:
        self._config = config
        self._hosts = Hosts(config.allow)
        self._turns: dict[str, Bucket] = {}
        self._robots: dict[str, tuple[float, Robots]] = {}  # by origin, with the time until which they count
        self._locks: dict[str, asyncio.Lock] = {}
        self._session: aiohttp.ClientSession | None = None

    async def page(self, text: str, keep: Keep) -> Outcome:
        """What a url says: always an outcome, which may be a reason for the model why there is no page."""
        try:
            async with asyncio.timeout(self._config.timeout):
                return await self._follow(text, keep)
        except DocumentRefused as why:
            return Outcome(refused=str(why))
        except TimeoutError:
            return Outcome(refused=f"the host did not answer within {self._config.timeout:g} s", passing=True)
        except _Failed as why:
            return Outcome(refused=str(why), passing=True)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()

    async def _follow(self, text: str, keep: Keep) -> Outcome:
        for _ in range(_REDIRECTS + 1):
            url = self._hosts.permit(text)
            robots = await self._robots_of(url, keep)
            if robots is NOBODY:
                raise _Failed(f"{url.host} does not say what programs may read (robots.txt cannot be had now)")
            if not robots.allows(url):
                raise DocumentRefused(f"{url.host} asks programs not to read this page (robots.txt)")
            await self._turn(url, robots.delay)
            found = await self._get(url, self._config.size, _TEXTS)
            if not isinstance(found, str):
                return found
            text = found
        raise DocumentRefused(f"this url redirects more than {_REDIRECTS} times")

    async def _robots_of(self, url: URL, keep: Keep) -> Robots:
        """What a host allows. Raises DocumentRefused: the host itself cannot be opened."""
        origin = str(url.origin())
        # Many who begin with the same host ask for its file once.
        lock = self._locks.get(origin) or _remember(self._locks, origin, asyncio.Lock())
        async with lock:
            until, robots = self._robots.get(origin, (0.0, NOBODY))
            if time.monotonic() < until:
                return robots
            robots = await self._ask_robots(origin, keep)
            lasts = _AGAIN if robots is NOBODY else _ROBOTS
            _remember(self._robots, origin, (time.monotonic() + lasts, robots))
            return robots

    async def _ask_robots(self, origin: str, keep: Keep) -> Robots:
        text = f"{origin}/robots.txt"
        try:
            for _ in range(_REDIRECTS + 1):
                place = self._hosts.permit(text)
                await self._turn(place, 0.0)
                found = await self._get(place, _ROBOTS_SIZE, None)
                if not isinstance(found, str):
                    keep(f"{origin}/robots.txt", found)
                    return read_robots(found, self._config.agent)
                text = found
        except DocumentRefused:
            if text == f"{origin}/robots.txt":
                raise
        except _Failed:
            pass
        return NOBODY  # unreachable: nothing may be read, RFC 9309, 2.3.1.4

    async def _turn(self, url: URL, delay: float) -> None:
        """Wait for a request's turn at its host. Raises _Failed: it would come too late."""
        rate = min(self._config.host_rate, 1 / delay) if delay > 0 else self._config.host_rate
        bucket = self._turns.get(url.host or "")
        if bucket is None:
            bucket = _remember(self._turns, url.host or "", Bucket(rate, 1.0))
        bucket.rate = rate if delay > 0 else bucket.rate
        now = time.monotonic()
        if bucket.wait(now) >= self._config.timeout:
            raise _Failed(f"{url.host} is asked for too many pages at the moment; try again later")
        await asyncio.sleep(bucket.take(now))

    async def _get(self, url: URL, size: int, types: tuple[str, ...] | None) -> Outcome | str:
        """An answer, or where it redirects to; any type of content for None. Raises DocumentRefused, _Failed."""
        if self._session is None:
            # No proxy of the environment, no cookies, and no connection that another look at an address has opened.
            connector = aiohttp.TCPConnector(
                resolver=PublicResolver(self._config.hosts, self._config.private),
                use_dns_cache=False,
                force_close=True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._config.agent, "Accept": "text/html, text/plain;q=0.9"},
            )
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status in _REDIRECTED and "Location" in response.headers:
                    return _target(url, response.headers["Location"])
                return await _read(response, size, types)
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, NotPublic):
                raise DocumentRefused(f"{url.host} cannot be opened: it is no public host") from None
            raise _Failed(f"{url.host} has no address") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _Failed(f"{url.host} does not answer ({type(error).__name__})") from None


def _target(url: URL, location: str) -> str:
    try:
        return str(url.join(URL(location)))
    except ValueError:
        raise DocumentRefused("this page redirects to what is no url") from None


async def _read(response: aiohttp.ClientResponse, size: int, types: tuple[str, ...] | None) -> Outcome:
    """The answer, with the reason where there is nothing to read in it. Raises DocumentRefused."""
    about = {"url": str(response.url), "status": response.status, "type": response.content_type}
    if types is not None and response.status != 200:
        passing = response.status == 429 or response.status >= 500
        return Outcome(**about, refused=f"the host answers with status {response.status}", passing=passing)
    if types is not None and response.content_type not in types:
        return Outcome(**about, refused=f"this is {response.content_type}, which cannot be read as text")
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > size:
            if types is None:
                break
            return Outcome(**about, refused=f"the page has more than {size} bytes")
    return Outcome(**about, charset=response.charset, body=bytes(body[:size]))


def _remember(known: dict[str, T], name: str, value: T) -> T:
    while len(known) >= _HOSTS:
        del known[next(iter(known))]
    known[name] = value
    return value
