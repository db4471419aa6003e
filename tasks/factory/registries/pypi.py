"""PyPI and every index with its Simple API (PEP 503 pages or PEP 691 JSON)."""

from __future__ import annotations

import html
import os
import re
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import orjson

from envfarm.tasks.factory.registries.base import Release, Web, no_version, verify
from envfarm.toolbox.errors import BadRequest

_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_ARCHIVES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz")
_LINK = re.compile(r'<a\s[^>]*?href="([^"]+)"[^>]*>([^<]+)</a>', re.I)


@dataclass(frozen=True, slots=True)
class _File:
    filename: str
    url: str
    sha256: str
    published: date | None


class PyPI:
    """The index that PIP_INDEX_URL names, else pypi.org."""

    name = "pypi"
    language = "python"

    def __init__(self, index: str | None = None) -> None:
        self._index = (index or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple").rstrip("/")

    async def release(self, web: Web, name: str, version: str) -> Release:
        """A version's source distribution. Raises BadRequest, RegistryError."""
        page = f"{self._index}/{re.sub(r'[-_.]+', '-', name).lower()}/"
        body = await web.get(page, headers={"Accept": _ACCEPT})
        if body is None:
            raise BadRequest(f"pypi:{name}: {page} has no such package; check the name")
        files = _files(body, page)
        found = [file for file in files if _version(file.filename) == version]
        if not found:
            versions = {known for file in files if (known := _version(file.filename))}
            if any(re.split(r"-", file.filename)[1:2] == [version] for file in files):
                raise BadRequest(f"pypi:{name} {version} has wheels but no source distribution; take another version")
            raise no_version(f"pypi:{name}", version, versions)
        file = found[0]
        archive = await web.get(file.url)
        if archive is None:
            raise BadRequest(f"pypi:{name} {version}: {file.url} is gone; take another version")
        sha256 = verify(archive, algorithm="sha256", expected=file.sha256, url=file.url)
        prefix = re.sub(r"\.(tar\.\w+|tgz)$", "", file.filename)
        return Release("pypi", name, version, file.url, sha256, "tar", prefix, file.published, archive)


def _version(filename: str) -> str | None:
    """The version in a source distribution's name, None for a wheel or another kind of file."""
    for suffix in _ARCHIVES:
        if filename.endswith(suffix):
            return filename.removesuffix(suffix).rpartition("-")[2]
    return None


def _files(body: bytes, page: str) -> list[_File]:
    """The files of a package's page. Source of the formats: PEP 503, 592, 691 and 700."""
    if body.lstrip()[:1] == b"{":
        rows: list[dict[str, Any]] = orjson.loads(body)["files"]
        return [
            _File(
                row["filename"],
                urljoin(page, row["url"]),
                row["hashes"].get("sha256", ""),
                _day(row.get("upload-time")),
            )
            for row in rows
            if not row.get("yanked")
        ]
    files = []
    for href, text in _LINK.findall(body.decode("utf-8", "replace")):
        url, fragment = urldefrag(html.unescape(href))
        files.append(_File(text.strip(), urljoin(page, unquote(url)), fragment.removeprefix("sha256="), None))
    return files


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text[:10]) if text else None
