"""Go modules over the GOPROXY protocol, verified with the checksum database that the proxy passes on.

Source of the formats: https://go.dev/ref/mod#goproxy-protocol and golang.org/x/mod/sumdb/dirhash (`h1:`).
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import zipfile
from datetime import date

import orjson

from envfarm.tasks.factory.registries.base import RegistryError, Release, Web, no_version
from envfarm.toolbox.errors import BadRequest

_PSEUDO = re.compile(r"\d{14}-[0-9a-f]{12}$")  # a version of a commit without a tag, which no list has


class Go:
    """The first proxy that GOPROXY names, else proxy.golang.org."""

    name = "go"
    language = "go"

    def __init__(self, proxy: str | None = None) -> None:
        named = re.split(r"[,|]", proxy or os.environ.get("GOPROXY", ""))[0]
        self._proxy = (named if named.startswith("http") else "https://proxy.golang.org").rstrip("/")

    async def release(self, web: Web, name: str, version: str) -> Release:
        """A module version's zip. Raises BadRequest, RegistryError."""
        version = version if version.startswith("v") else f"v{version}"
        root = f"{self._proxy}/{_escape(name)}/@v"
        known = (await web.get(f"{root}/list") or b"").decode().split()
        if version not in known and not _PSEUDO.search(version):
            raise no_version(f"go:{name}", version, known)
        url = f"{root}/{version}.zip"
        info, archive = await web.get(f"{root}/{version}.info"), await web.get(url)
        if info is None or archive is None:
            raise BadRequest(f"go:{name} {version}: {url} is gone; take another version")
        await self._check(web, name, version, archive)
        day = date.fromisoformat(orjson.loads(info)["Time"][:10])
        sha256 = hashlib.sha256(archive).hexdigest()
        return Release("go", name, version, url, sha256, "zip", f"{name}@{version}", day, archive)

    async def _check(self, web: Web, name: str, version: str, archive: bytes) -> None:
        """Compare with the checksum database; a proxy that does not pass it on leaves only our own record."""
        answer = await web.get(f"{self._proxy}/sumdb/sum.golang.org/lookup/{_escape(name)}@{version}")
        wanted = f"{name} {version} h1:"
        for line in (answer or b"").decode().splitlines():
            if line.startswith(wanted) and (h1 := line.removeprefix(wanted)) != _h1(archive):
                raise RegistryError(f"go:{name} {version}: the zip is h1:{_h1(archive)}, sum.golang.org says h1:{h1}")


def _escape(name: str) -> str:
    """A module path as the protocol spells it: `!` and the small letter for every capital."""
    if not re.fullmatch(r"[\w.~/-]+", name):
        raise BadRequest(f"go:{name}: not a module path")
    return re.sub("[A-Z]", lambda match: "!" + match[0].lower(), name)


def _h1(archive: bytes) -> str:
    lines = []
    with zipfile.ZipFile(io.BytesIO(archive)) as bundle:
        for name in sorted(bundle.namelist()):
            lines.append(f"{hashlib.sha256(bundle.read(name)).hexdigest()}  {name}\n")
    return base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()
