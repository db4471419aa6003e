"""The seam between the factory and a package registry: `Registry`."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

import aiohttp

from envfarm.toolbox.errors import BadRequest, FarmError

Format = Literal["tar", "zip"]

_ATTEMPTS = 3
_LIMIT = 256 << 20  # bytes of one download: no source release that makes a task is near it


@dataclass(frozen=True, slots=True)
class Release:
    """One published source release, its checksum verified against what its registry says."""

    registry: Literal["pypi", "go", "crates", "npm"]
    name: str
    version: str
    url: str
    sha256: str  # of the archive
    format: Format
    prefix: str  # folder of the archive that holds the source
    published: date | None
    archive: bytes


class Registry(Protocol):
    """One package registry."""

    name: str
    language: str

    async def release(self, web: Web, name: str, version: str) -> Release:
        """Download a source release and verify it. Raises BadRequest (no such thing), RegistryError."""


class RegistryError(FarmError):
    """A registry that does not answer, or that sends what does not match its own checksum."""

    status = 502


class Web:
    """HTTP GET with retries, over the proxies and certificate authorities of this process's environment."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> bytes | None:
        """The body, None where the answer is 404 or 410. Raises RegistryError."""
        problem = ""
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(attempt)
            try:
                async with self._session.get(url, headers=headers) as response:
                    if response.status in (404, 410):
                        return None
                    if response.status < 400:
                        return await _body(response)
                    problem = f"HTTP {response.status}"
                    if response.status < 500 and response.status != 429:
                        break
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = str(error) or type(error).__name__
        raise RegistryError(f"{url}: {problem}; check the network and the registry's settings (docs/factory.md)")


async def _body(response: aiohttp.ClientResponse) -> bytes:
    data = await response.content.read(_LIMIT + 1)
    parts = [data]
    while data := await response.content.read(1 << 20):
        parts.append(data)
        if sum(map(len, parts)) > _LIMIT:
            raise RegistryError(f"{response.url}: more than {_LIMIT >> 20} MiB; too big for a task")
    return b"".join(parts)


def web_session() -> aiohttp.ClientSession:
    """A session that honours HTTPS_PROXY, NO_PROXY, ~/.netrc and SSL_CERT_FILE. The caller closes it."""
    return aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout(total=300, sock_connect=30))


def verify(data: bytes, *, algorithm: str, expected: str, url: str) -> str:
    """The SHA-256 of `data`, once its hex digest under `algorithm` is the expected one. Raises RegistryError."""
    if (got := hashlib.new(algorithm, data).hexdigest()) != expected:
        raise RegistryError(f"{url}: {algorithm} is {got}, its registry says {expected}; try again or another mirror")
    return hashlib.sha256(data).hexdigest()


def no_version(reference: str, version: str, known: Collection[str]) -> BadRequest:
    """The error for a version that a package does not have."""
    near = difflib.get_close_matches(version, known, 3, 0.1) or sorted(known)[-3:]
    hint = f"published are {', '.join(near)}" if near else "nothing is published under that name"
    return BadRequest(f"{reference} has no version {version}; {hint}")
