"""crates.io over its sparse index.

Source of the formats: https://doc.rust-lang.org/cargo/reference/registry-index.html
"""

from __future__ import annotations

import os
from typing import Any

import orjson

from envfarm.tasks.factory.registries.base import Release, Web, no_version, verify
from envfarm.toolbox.errors import BadRequest

_INDEX = "https://index.crates.io"
_DOWNLOADS = "https://static.crates.io/crates"


class Crates:
    """The sparse index that CARGO_REGISTRIES_CRATES_IO_INDEX names, else index.crates.io."""

    name = "crates"
    language = "rust"

    def __init__(self, index: str | None = None) -> None:
        named = index or os.environ.get("CARGO_REGISTRIES_CRATES_IO_INDEX") or _INDEX
        self._index = named.removeprefix("sparse+").rstrip("/")

    async def release(self, web: Web, name: str, version: str) -> Release:
        """A version's `.crate`. Raises BadRequest, RegistryError."""
        body = await web.get(f"{self._index}/{_place(name.lower())}")
        if body is None:
            raise BadRequest(f"crates:{name}: {self._index} has no such crate; check the name")
        rows = {row["vers"]: row for row in map(orjson.loads, body.splitlines())}
        if version not in rows:
            raise no_version(f"crates:{name}", version, rows)
        if rows[version]["yanked"]:
            raise BadRequest(f"crates:{name} {version} is yanked; take another version")
        url = await self._url(web, rows[version])
        archive = await web.get(url)
        if archive is None:
            raise BadRequest(f"crates:{name} {version}: {url} is gone; take another version")
        sha256 = verify(archive, algorithm="sha256", expected=rows[version]["cksum"], url=url)
        return Release("crates", name, version, url, sha256, "tar", f"{name}-{version}", None, archive)

    async def _url(self, web: Web, row: dict[str, Any]) -> str:
        """Where a crate is downloaded: for crates.io its file host, for a mirror what its config.json says."""
        name, version = row["name"], row["vers"]
        if self._index == _INDEX:
            return f"{_DOWNLOADS}/{name}/{name}-{version}.crate"
        config = await web.get(f"{self._index}/config.json")
        template: str = orjson.loads(config)["dl"] if config else ""
        if not template:
            raise BadRequest(f"{self._index}/config.json: names no download address; is this a sparse index?")
        if "{" not in template:
            return f"{template}/{name}/{version}/download"
        for key, value in {
            "crate": name,
            "version": version,
            "prefix": _place(name).rpartition("/")[0],
            "lowerprefix": _place(name.lower()).rpartition("/")[0],
            "sha256-checksum": row["cksum"],
        }.items():
            template = template.replace(f"{{{key}}}", value)
        return template


def _place(name: str) -> str:
    if len(name) <= 3:
        return f"{len(name)}/{name}" if len(name) < 3 else f"3/{name[0]}/{name}"
    return f"{name[:2]}/{name[2:4]}/{name}"
