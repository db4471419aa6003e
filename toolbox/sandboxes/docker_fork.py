"""Copies of a live gVisor container: a checkpoint of it, from which new containers go on."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envfarm.toolbox.errors import ForkUnsupported, SandboxError
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.docker_client import DockerApi

logger = logging.getLogger(__name__)

_NAME = "fork"
_TIMEOUT = 300.0
"""Seconds for a checkpoint, or for a start from one: the engine copies the sandbox's memory four times."""


def lacking(info: Mapping[str, Any]) -> str | None:
    """What an engine lacks for forks, from its own description, with the fix in the same line; None for nothing."""
    if "runsc" not in (info.get("Runtimes") or {}):
        return "the engine offers no runsc: add it (in a checkout: `make gvisor`)"
    if not info.get("ExperimentalBuild"):
        return 'the engine makes no checkpoints: set "experimental": true in /etc/docker/daemon.json and restart it'
    if not os.access(_containers(info), os.R_OK | os.W_OK | os.X_OK):
        return f"{_containers(info)} cannot be written to: run the farm on the engine's own machine, as root"
    return None


async def check(api: DockerApi, container: str, spec: SandboxSpec) -> Path:
    """The folder of the engine's containers. Raises ForkUnsupported, which says what is missing and the fix."""
    if spec.isolation != "gvisor":
        raise ForkUnsupported(f"isolation {spec.isolation} has no forks: set isolation to gvisor")
    info = await api.call(lambda client: client.info())
    if (missing := lacking(info)) is not None:
        raise ForkUnsupported(f"no forks here: {missing}")
    if not (_containers(info) / container).is_dir():  # another engine's folder may have the same name here
        raise ForkUnsupported(f"no forks here: the engine at {api.url} is not on this machine: run the farm beside it")
    return _containers(info)


async def create(api: DockerApi, container: str, labels: Sequence[Mapping[str, str]]) -> list[str]:
    """Containers made as that one was, with other labels; not started. All are made or none. Raises SandboxError."""
    about = await api.call(lambda client: client.api.inspect_container(container))

    async def make(more: Mapping[str, str]) -> str:
        config = {**about["Config"], "Image": about["Image"], "HostConfig": about["HostConfig"]}
        config["Labels"] = {**config["Labels"], **more}
        return await api.call(lambda client: _create(client.api, config))

    made = await asyncio.gather(*(make(more) for more in labels), return_exceptions=True)
    twins = [one for one in made if isinstance(one, str)]
    for error in made:
        if isinstance(error, BaseException):
            await discard(api, twins)
            raise error
    return twins


async def discard(api: DockerApi, twins: Sequence[str]) -> None:
    """Remove twins that nobody gets; one that stays is logged, for the caller must hear of what went wrong before."""
    removed = await asyncio.gather(*(api.remove(twin) for twin in twins), return_exceptions=True)
    for twin, error in zip(twins, removed, strict=True):
        if error is not None:
            logger.warning("cannot remove %s, which the farm's next start does: %s", twin, error)


async def checkpoint(api: DockerApi, containers: Path, container: str, twins: Sequence[str]) -> None:
    """Put a checkpoint of a container, which goes on, into the folder of each twin: gone with it, whatever happens."""
    places = [containers / twin / "checkpoints" for twin in twins]
    body = {"CheckpointID": _NAME, "CheckpointDir": str(places[0]), "Exit": False}
    await api.post(f"/containers/{container}/checkpoints", timeout=_TIMEOUT, json=body)
    await asyncio.to_thread(_spread, places)


async def restore(api: DockerApi, containers: Path, twin: str) -> None:
    """Start a twin from its checkpoint, and remove that: the twin has all of it in memory now."""
    await api.post(f"/containers/{twin}/start?checkpoint={_NAME}", timeout=_TIMEOUT)
    await asyncio.to_thread(shutil.rmtree, containers / twin / "checkpoints" / _NAME, ignore_errors=True)


def hide(twin: str) -> str:
    """A script that hides the file in which gVisor keeps what is written, as it does itself in all but restored ones.

    Only the name goes: it lies in the read-only layer below what the sandbox can write to.
    """
    return f"rm -f /.gvisor.filestore.{twin}"


def _spread(places: Sequence[Path]) -> None:
    """Give every twin the files that the first one has, and a file of its own.

    The engine keeps a checkpoint by its digest while a container starts from it: two must not be equal.
    """
    try:
        for place in places:
            (place / _NAME).mkdir(exist_ok=True)
            (place / _NAME / place.parent.name).touch()
        for file in (places[0] / _NAME).glob("*.img"):
            for place in places[1:]:
                os.link(file, place / _NAME / file.name)
    except OSError as error:
        raise SandboxError(f"a checkpoint cannot be kept: {error}") from None


def _create(client: Any, config: Mapping[str, Any]) -> str:
    return str(client.create_container_from_config(config)["Id"])


def _containers(info: Mapping[str, Any]) -> Path:
    return Path(str(info.get("DockerRootDir") or "/var/lib/docker")) / "containers"
