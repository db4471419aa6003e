"""Brings images from a Docker engine into a registry, where a cluster's nodes find them by digest."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from docker.errors import APIError, ImageNotFound

from envfarm.toolbox.errors import ImageError
from envfarm.toolbox.sandboxes.docker_engine import EngineClient, engine

_SILENCE = 600.0  # seconds; a big layer says nothing while the registry stores it
_KEPT = ("User", "WorkingDir", "Entrypoint", "Cmd")


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image in a registry: its reference by digest, and what of its configuration a sandbox needs."""

    reference: str
    config: dict[str, Any]


def remote_name(registry: str, image: str) -> tuple[str, str]:
    """Repository and tag under which an image of the engine goes into a registry (`HOST[:PORT][/FOLDER]`)."""
    plain, _, digest = image.partition("@")
    folder, slash, last = plain.rpartition("/")
    last, _, tag = last.partition(":")
    first, _, rest = folder.partition("/")
    if "." in first or ":" in first or first == "localhost":
        folder = rest
    path = f"{folder}/{last}" if slash and folder else last
    return f"{registry.rstrip('/')}/{path}", tag or digest.removeprefix("sha256:")[:12] or "latest"


async def push(image: str, registry: str, *, url: str | None = None) -> Pushed:
    """Push an image that the engine at `url` has, under its own name; what the registry has already costs nothing.

    The engine speaks HTTP with registries on this machine and with those of its own `insecure-registries`, and takes
    passwords from `docker login`. Raises ImageError with what the registry said, BackendUnavailable.
    """
    repository, tag = remote_name(registry, image)
    with engine(url, _SILENCE) as client:
        work = asyncio.ensure_future(asyncio.to_thread(_push, client, image, repository, tag))
        try:
            return await asyncio.shield(work)
        finally:
            while not work.done():  # cancelled; the response may not be there yet at the first try
                client.abort()
                await asyncio.wait([work], timeout=0.1)


def _push(client: EngineClient, image: str, repository: str, tag: str) -> Pushed:
    digest, problem = "", "it gave no digest"
    try:
        config = client.inspect_image(image)["Config"] or {}  # type: ignore[no-untyped-call]  # its stub lacks one
        client.tag(image, repository, tag)
        for message in client.push(repository, tag=tag, stream=True, decode=True):
            problem = str(message.get("error", problem)).strip()
            digest = str((message.get("aux") or {}).get("Digest", digest))
    except ImageNotFound:
        raise ImageError(f"image {image}: not on this machine; build it first") from None
    except APIError as error:
        problem = str(error.explanation)
    if not digest:
        fix = "correct the registry's name, or `docker login` there"
        raise ImageError(f"image {image}: {repository}:{tag} does not take it ({problem}); {fix}")
    return Pushed(f"{repository}@{digest}", {key: config[key] for key in _KEPT if config.get(key)})
