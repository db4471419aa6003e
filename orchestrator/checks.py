"""What a farm needs from its surroundings, looked at one by one."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import docker
import docker.errors
import requests
from docker.errors import DockerException

from envfarm.envs.judge.config import JudgeConfig
from envfarm.orchestrator.errors import StoreError
from envfarm.orchestrator.http.auth import loopback
from envfarm.orchestrator.owners import owner
from envfarm.orchestrator.settings import Settings
from envfarm.orchestrator.store.store import Store
from envfarm.orchestrator.wire import open_registry
from envfarm.toolbox.endpoint import ModelError
from envfarm.toolbox.errors import ImageError, SandboxError, TaskError
from envfarm.toolbox.sandboxes import reach
from envfarm.toolbox.sandboxes.base import Isolation
from envfarm.toolbox.sandboxes.docker import DockerBackend
from envfarm.toolbox.sandboxes.docker_client import reason
from envfarm.toolbox.sandboxes.docker_fork import lacking
from envfarm.toolbox.sandboxes.docker_preflight import preflight
from envfarm.toolbox.sandboxes.reach import faulty

_ROOM = 5 << 30  # bytes: a few task images and their artefacts
_GIB = 1 << 30

State = Literal["ok", "missing", "unusable", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `missing` or `unusable` is what the farm cannot do without, `note` what it can."""

    check: str
    state: State
    found: str
    fix: str = ""

    def row(self) -> dict[str, str]:
        """As a table or JSON shows it."""
        return asdict(self)

    @property
    def fatal(self) -> bool:
        """Whether the farm cannot work like this."""
        return self.state in ("missing", "unusable")


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; nothing is changed, and nothing is started but the probes of the network's cuts."""
    findings = [_python()]
    if settings.backend == "docker":
        findings += engine(settings)
    if settings.backend == "kubernetes":
        from envfarm.orchestrator.cluster_checks import cluster

        findings += asyncio.run(cluster(settings))
    findings += [_disk("data folder", settings.data), _database(settings), _port(settings), _tasks(settings)]
    findings += [_judge(settings), _access(settings)]
    return findings


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")


def engine(settings: Settings) -> Generator[Finding, None, None]:
    """The engine, what it limits, its images, gVisor, forks and its disk."""
    try:
        client = docker.DockerClient(base_url=settings.docker_url) if settings.docker_url else docker.from_env()
    except (DockerException, requests.RequestException) as error:
        where = settings.docker_url or os.environ.get("DOCKER_HOST") or "the default socket"
        fix = "start Docker (in a checkout: `make engine`), or name an engine with --docker-url"
        yield Finding("docker engine", "missing", f"none answers at {where}: {reason(error)}", fix)
        return
    try:
        info: dict[str, Any] = client.info()
        yield Finding("docker engine", "ok", f"{info.get('ServerVersion')} ({info.get('Driver')})")
        yield _limits(info)
        yield _images(client, settings)
        yield _gvisor(info, settings)
        yield _forks(info)
        yield from _allowlists(client, info, settings)
        yield _disk("docker's folder", Path(str(info.get("DockerRootDir", "/var/lib/docker"))))
    except (DockerException, requests.RequestException) as error:
        yield Finding("docker engine", "missing", short(error), "see the engine's log")
    finally:
        client.close()


def _limits(info: dict[str, Any]) -> Finding:
    lacking = [name for name in ("MemoryLimit", "PidsLimit", "CpuCfsQuota") if not info.get(name)]
    if lacking:
        fix = "enable these cgroup controllers in the kernel (cgroup_enable=memory)"
        return Finding("limits", "note", f"the engine cannot enforce {', '.join(lacking)}", fix)
    return Finding("limits", "ok", f"memory, pids, cpu (cgroup v{info.get('CgroupVersion', '1')})")


def _images(client: docker.DockerClient, settings: Settings) -> Finding:
    there = {tag for image in client.images.list() for tag in image.tags}
    wanted = sorted(set(settings.base_images.values()))
    lacking = [image for image in wanted if image not in there]
    if lacking:
        fix = "in a checkout: `make images`; without them the names in task files are pulled"
        return Finding("base images", "note", f"not there: {', '.join(lacking)}", fix)
    return Finding("base images", "ok", ", ".join(wanted) or "none mapped")


def _gvisor(info: dict[str, Any], settings: Settings) -> Finding:
    if "runsc" in (info.get("Runtimes") or {}):
        return Finding("gvisor", "ok", "the engine offers runsc")
    state: State = "missing" if settings.isolation == "gvisor" else "note"
    return Finding(
        "gvisor", state, "the engine offers no runsc", "in a checkout: `make gvisor`, or see gvisor.dev/docs"
    )


def _forks(info: dict[str, Any]) -> Finding:
    if (missing := lacking(info)) is None:
        return Finding("forks", "ok", "live gVisor sandboxes can be forked")
    found, _, fix = missing.partition(": ")
    return Finding("forks", "note", found, fix)


def _allowlists(client: docker.DockerClient, info: dict[str, Any], settings: Settings) -> Iterator[Finding]:
    """What a sandbox with an allowlist reaches, from a probe of each isolation."""
    image = settings.egress.image
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        fix = "in a checkout: `make images`; else it is pulled when a task with an allowlist starts"
        yield Finding("network allowlist", "note", f"the proxies' image {image} is not there", fix)
        return
    gvisor = "runsc" in (info.get("Runtimes") or {})
    yield from asyncio.run(_probed(settings, ("runc", "gvisor") if gvisor else ("runc",)))


async def _probed(settings: Settings, isolations: Sequence[Isolation]) -> list[Finding]:
    backend = DockerBackend(settings.docker_url, egress=settings.egress)
    locks = Path(tempfile.gettempdir()) / f"envfarm-doctor-{os.geteuid()}"  # a doctor makes no data folder
    try:
        async with owner(locks, "doctor", backend) as label:
            return list(await asyncio.gather(*(_probe(backend, isolation, label) for isolation in isolations)))
    finally:
        await backend.close()


async def _probe(backend: DockerBackend, isolation: Isolation, label: str) -> Finding:
    check = f"network allowlist, {isolation}"
    try:
        found = await preflight(backend, isolation, owner=label)
    except (SandboxError, ImageError) as error:
        return Finding(check, "note", "no probe could be made", short(error))
    if wrong := faulty(found):
        fix = "the engine does not keep its internal networks apart: play no task with an allowlist (docs/egress.md)"
        return Finding(check, "unusable", f"a probe {wrong}", fix)
    return cut_well(check, found)


def cut_well(check: str, found: Sequence[reach.Finding]) -> Finding:
    """That a probe reached what it should, and nothing else."""
    others, way = [one.name for one in found if not one.wanted], [one.name for one in found[1:] if one.wanted]
    reached = f"reached its {way[0]}, and" if way else "reached"
    return Finding(check, "ok", f"a probe {reached} none of {', '.join(others)}")


def _disk(what: str, folder: Path) -> Finding:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free / _GIB:.1f} GiB free at {place}"
    if not os.access(place, os.W_OK):
        return Finding(what, "unusable", f"{place} cannot be written", "choose another folder with --data")
    if free < _ROOM:
        return Finding(what, "note", found, f"free {(_ROOM - free) / _GIB:.1f} GiB: builds and artefacts need room")
    return Finding(what, "ok", found)


def _database(settings: Settings) -> Finding:
    shown = settings.database_url.split("@")[-1]  # never the password
    if settings.database is None and not (settings.data / "envfarm.db").exists():
        return Finding("database", "ok", "none yet; `envfarm serve` makes it")
    try:
        asyncio.run(_opened(settings))
    except StoreError as error:
        return Finding("database", "unusable", shown, short(error))
    return Finding("database", "ok", shown)


async def _opened(settings: Settings) -> None:
    store = Store(settings.database_url)
    try:
        await store.check()
    finally:
        await store.close()


def _port(settings: Settings) -> Finding:
    where = f"{settings.host}:{settings.port}"
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return Finding("port", "note", f"{where} is in use", "choose another with --port, unless it is envfarm")
            return Finding("port", "unusable", f"{where}: {short(error)}", "correct host and port")
    return Finding("port", "ok", f"{where} is free")


def _tasks(settings: Settings) -> Finding:
    try:
        registry = open_registry(settings)
    except TaskError as error:
        return Finding("tasks", "missing", "", short(error))
    if broken := registry.errors():
        id, why = next(iter(broken.items()))
        return Finding("tasks", "note", f"{len(broken)} of {len(registry)} cannot be read", f"{id}: {short(why)}")
    return Finding("tasks", "ok", f"{len(registry)}")


def _judge(settings: Settings) -> Finding:
    config = settings.judge
    if config.url is None:
        return Finding("judge", "ok", "none set; what asks for one is scored without it")
    found = f"{config.model} at {config.url}"
    try:
        asyncio.run(_answers(config.model_copy(update={"attempts": 1, "timeout": 30.0})))
    except ModelError as error:
        return Finding("judge", "unusable", short(error), "correct judge.url, judge.model and judge.key, or set no url")
    return Finding("judge", "ok", found)


async def _answers(config: JudgeConfig) -> None:
    """Ask the smallest question that there is. Raises ModelError."""
    async with config.chat() as model:
        await model.complete([{"role": "user", "content": "Answer with one word: yes."}], max_tokens=16)


def _access(settings: Settings) -> Finding:
    if settings.tokens:
        return Finding("access", "ok", f"{len(settings.tokens)} bearer tokens")
    if loopback(settings.host):
        return Finding("access", "ok", "no token, and only this machine can reach the port")
    return Finding("access", "missing", f"no token, and {settings.host} can be reached", "set ENVFARM_TOKENS")


def short(error: BaseException) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
