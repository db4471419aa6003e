"""An image's user, directory and entrypoint, from its registry: Kubernetes tells nobody."""

from __future__ import annotations

import asyncio
import base64
import logging
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from envfarm.k8s.config import KubernetesConfig

log = logging.getLogger(__name__)

_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_REMEMBER = 60.0  # seconds that a tag's digest, and a registry's silence, are believed
_TIMEOUT = aiohttp.ClientTimeout(total=10.0, sock_connect=3.0)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


class RegistryError(Exception):
    """A registry that does not answer, or does not give what was asked for."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image by its digest, and its configuration as Docker has it; without either where no registry says."""

    reference: str
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Name:
    """The parts of an image's name."""

    host: str
    path: str
    tag: str  # or its digest

    @classmethod
    def parse(cls, reference: str) -> Name:
        """As Docker reads it: what has no host is Docker Hub's."""
        rest, at, digest = reference.partition("@")
        first, slash, path = rest.partition("/")
        if not slash or not ("." in first or ":" in first or first == "localhost"):
            first, path = "registry-1.docker.io", rest if slash else f"library/{rest}"
        path, _, tag = path.partition(":")
        return cls(first, path, digest if at else tag or "latest")


class Registry:
    """Reads configurations, each digest's once; those in `known` were told to us, by reference, and are not read.

    What a registry does not give is not asked for again for a minute.
    """

    def __init__(self, config: KubernetesConfig, known: Mapping[str, dict[str, Any]] | None = None) -> None:
        self._known = dict(known or {})
        self._plain = config.plain_http
        self._auth = config.registry_auth or Path.home() / ".docker/config.json"
        self._configs: dict[str, dict[str, Any]] = {}  # by digest
        self._tags: dict[str, tuple[float, Image]] = {}
        self._asking: dict[str, asyncio.Task[Image]] = {}
        self._warned: set[str] = set()

    async def image(self, reference: str) -> Image:
        """What a pod should name, and the image's configuration. Never raises for a registry's sake."""
        if reference in self._known:
            return Image(reference, self._known[reference])
        known = self._tags.get(reference)
        if known is not None and asyncio.get_running_loop().time() - known[0] < _REMEMBER:
            return known[1]
        task = self._asking.get(reference)
        if task is None:  # one question for all who start the same image now
            task = self._asking[reference] = asyncio.create_task(self._ask(reference))
            task.add_done_callback(lambda _: self._asking.pop(reference, None))
        return await asyncio.shield(task)

    async def _ask(self, reference: str) -> Image:
        try:
            image = await self._read(reference)
        except RegistryError as error:
            if reference not in self._warned:
                self._warned.add(reference)
                log.warning(
                    "%s: its registry does not say how it is configured (%s): commands run as root, in /, and its "
                    "entrypoint does not run; let the farm read it (registry_auth, plain_http)",
                    reference,
                    error,
                )
            image = Image(reference, {})
        self._tags[reference] = asyncio.get_running_loop().time(), image
        return image

    async def _read(self, reference: str) -> Image:
        name = Name.parse(reference)
        scheme = "http" if name.host in self._plain or name.host.rsplit(":", 1)[0] in _LOCAL else "https"
        base = f"{scheme}://{name.host}/v2/{name.path}"
        try:
            async with aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=True) as session:
                session_headers: dict[str, str] = {}
                manifest, digest = await self._manifest(session, session_headers, base, name.host, name.tag)
                if "manifests" in manifest:
                    inner = _for_this_machine(manifest["manifests"])
                    manifest, _ = await self._manifest(session, session_headers, base, name.host, inner)
                wanted = str(manifest["config"]["digest"])
                if wanted not in self._configs:
                    data, _ = await self._get(session, session_headers, f"{base}/blobs/{wanted}", name.host)
                    self._configs[wanted] = dict(orjson.loads(data).get("config") or {})
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise RegistryError(" ".join(str(error).split()) or type(error).__name__) from None
        except (orjson.JSONDecodeError, KeyError, TypeError, StopIteration) as error:
            raise RegistryError(f"an answer that is no image: {error!r}") from None
        plain = reference.partition("@")[0]
        untagged = plain if ":" not in plain.rsplit("/", 1)[-1] else plain.rpartition(":")[0]
        return Image(f"{untagged}@{digest}" if digest else reference, self._configs[wanted])

    async def _manifest(
        self, session: aiohttp.ClientSession, headers: dict[str, str], base: str, host: str, tag: str
    ) -> tuple[dict[str, Any], str]:
        data, digest = await self._get(session, headers, f"{base}/manifests/{tag}", host)
        return dict(orjson.loads(data)), tag if tag.startswith("sha256:") else digest

    async def _get(
        self, session: aiohttp.ClientSession, headers: dict[str, str], url: str, host: str
    ) -> tuple[bytes, str]:
        """A document and its digest; the first refusal says where a token is to be had, which goes into `headers`."""
        for again in (True, False):
            async with session.get(url, headers={"Accept": _MANIFESTS, **headers}) as answer:
                if answer.status == 401 and again:
                    headers |= await self._token(session, answer.headers.get("WWW-Authenticate", ""), host)
                    continue
                if answer.status != 200:
                    raise RegistryError(f"HTTP status {answer.status} for {url}")
                return await answer.read(), answer.headers.get("Docker-Content-Digest", "")
        raise RegistryError(f"no access to {url}")

    async def _token(self, session: aiohttp.ClientSession, challenge: str, host: str) -> dict[str, str]:
        password = self._password(host)
        basic = {"Authorization": f"Basic {password}"} if password else {}
        if not challenge.lower().startswith("bearer"):
            return basic
        fields = dict(_CHALLENGE.findall(challenge))
        query = {key: fields[key] for key in ("service", "scope") if key in fields}
        async with session.get(fields["realm"], params=query, headers=basic) as answer:
            if answer.status != 200:
                raise RegistryError(f"HTTP status {answer.status} for a token of {host}")
            given = orjson.loads(await answer.read())
        return {"Authorization": f"Bearer {given.get('token') or given['access_token']}"}

    def _password(self, host: str) -> str | None:
        """User and password of a registry, encoded as HTTP wants them, from the file of `docker login`."""
        try:
            known = orjson.loads(self._auth.read_bytes())["auths"]
        except (OSError, orjson.JSONDecodeError, KeyError):
            return None
        keys = (host, f"https://{host}", "https://index.docker.io/v1/" if host == "registry-1.docker.io" else host)
        entry: dict[str, Any] = next((known[key] for key in keys if key in known), {})
        if "auth" in entry:
            return str(entry["auth"])
        if "username" in entry:
            return base64.b64encode(f"{entry['username']}:{entry['password']}".encode()).decode()
        return None


def _for_this_machine(manifests: list[dict[str, Any]]) -> str:
    """The image of an index that nodes like this machine run."""
    wanted = _MACHINES.get(platform.machine(), platform.machine())
    fitting = [one for one in manifests if one.get("platform", {}).get("architecture") == wanted]
    return str((fitting or manifests)[0]["digest"])
