"""npm and every registry with its API.

Source of the format: https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md
"""

from __future__ import annotations

import base64
import hashlib
import os
from datetime import date
from typing import Any
from urllib.parse import quote

import orjson

from envfarm.tasks.factory.registries.base import RegistryError, Release, Web, no_version
from envfarm.toolbox.errors import BadRequest


class Npm:
    """The registry that NPM_CONFIG_REGISTRY names, else registry.npmjs.org."""

    name = "npm"
    language = "node"

    def __init__(self, registry: str | None = None) -> None:
        named = registry or os.environ.get("NPM_CONFIG_REGISTRY")
        self._registry = (named or "https://registry.npmjs.org").rstrip("/")

    async def release(self, web: Web, name: str, version: str) -> Release:
        """A version's tarball. Raises BadRequest, RegistryError."""
        body = await web.get(f"{self._registry}/{quote(name, safe='@')}")
        if body is None:
            raise BadRequest(f"npm:{name}: {self._registry} has no such package; check the name")
        row: dict[str, Any] = orjson.loads(body)
        versions: dict[str, Any] = row["versions"]
        if version not in versions:
            raise no_version(f"npm:{name}", version, versions)
        dist = versions[version]["dist"]
        url: str = dist["tarball"]
        archive = await web.get(url)
        if archive is None:
            raise BadRequest(f"npm:{name} {version}: {url} is gone; take another version")
        _verify(archive, dist, url)
        day = row.get("time", {}).get(version)
        published = date.fromisoformat(day[:10]) if day else None
        sha256 = hashlib.sha256(archive).hexdigest()
        return Release("npm", name, version, url, sha256, "tar", "package", published, archive)


def _verify(archive: bytes, dist: dict[str, Any], url: str) -> None:
    """Compare with the strongest digest that the registry gives (`integrity` is Subresource Integrity, else SHA-1)."""
    text = str(dist.get("integrity") or "").split()
    if text:
        algorithm, _, expected = text[-1].partition("-")
        got = base64.b64encode(hashlib.new(algorithm, archive).digest()).decode()
    else:
        algorithm, expected, got = "sha1", dist["shasum"], hashlib.sha1(archive, usedforsecurity=False).hexdigest()
    if got != expected:
        raise RegistryError(f"{url}: {algorithm} is {got}, its registry says {expected}; try again or another mirror")
