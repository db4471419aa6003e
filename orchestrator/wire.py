"""Builds the farm's parts from the settings: the one place that knows which class stands behind which name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from envfarm.envs.base import Images, Services
from envfarm.orchestrator.errors import SettingsError
from envfarm.orchestrator.farm.core import Core, FarmSettings
from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.gate import leak_gate
from envfarm.orchestrator.identity import Identity
from envfarm.orchestrator.owners import owner
from envfarm.orchestrator.play import Player
from envfarm.orchestrator.settings import Settings
from envfarm.orchestrator.store.store import Store
from envfarm.tasks.images import TaskImages
from envfarm.tasks.pushed import PushedImages, PushedTable
from envfarm.tasks.registry import Registry, samples
from envfarm.tasks.spec import Task
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.sandboxes.base import Backend
from envfarm.toolbox.sandboxes.docker_images import DockerImages
from envfarm.toolbox.search.served import open_served
from envfarm.toolbox.toolbox import Toolbox

_TAKES = 3  # silences in which a dead server is missed and its sandboxes are taken over, on a slow day


class HostImages:
    """Stands in for images where the back end has none: the sandbox is the host, or no machine at all."""

    async def agent(self, task: Task) -> str:
        """A name that says so."""
        return "host"

    async def verifier(self, task: Task) -> str:
        """A name that says so."""
        return "host"


def open_backend(settings: Settings) -> Backend:
    """The back end that runs the sandboxes. Raises BackendUnavailable."""
    if settings.backend == "local":
        from envfarm.toolbox.sandboxes.local import LocalBackend

        return LocalBackend(settings.data / "sandboxes")
    if settings.backend == "simulated":
        from envfarm.toolbox.sandboxes.simulated import SimulatedBackend

        return SimulatedBackend()
    if settings.backend == "kubernetes":
        from envfarm.k8s.backend import KubernetesBackend

        return KubernetesBackend(settings.kubernetes, egress=settings.egress, images=open_pushed(settings).images)
    from envfarm.toolbox.sandboxes.docker import DockerBackend

    return DockerBackend(settings.docker_url, egress=settings.egress)


@asynccontextmanager
async def owned_backend(settings: Settings, use: str) -> AsyncIterator[tuple[Backend, str]]:
    """A back end for a command and the owner of what it starts there (envfarm.orchestrator.owners), for the block.

    Raises BackendUnavailable.
    """
    backend = open_backend(settings)
    try:
        async with owner(settings.data, use, backend) as label:
            yield backend, label
    finally:
        await backend.close()


@asynccontextmanager
async def open_builder(settings: Settings) -> AsyncIterator[DockerImages]:
    """What builds and finds images; builds under way are stopped at the end of the block."""
    builder = DockerImages(
        settings.docker_url, remap=settings.base_images, ca_bundle=settings.trusted, logs=settings.data / "builds"
    )
    try:
        yield builder
    finally:
        await builder.close()


@asynccontextmanager
async def open_images(settings: Settings) -> AsyncIterator[Images]:
    """What gives tasks their images; builds under way are stopped at the end of the block."""
    if settings.backend == "kubernetes":
        yield PushedImages(open_pushed(settings))
        return
    if settings.backend != "docker":
        yield HostImages()
        return
    async with open_builder(settings) as builder:
        yield TaskImages(builder, gate=leak_gate(lambda: owned_backend(settings, "gate")))


@asynccontextmanager
async def open_player(settings: Settings, use: str) -> AsyncIterator[Player]:
    """What plays episodes in this process for a command; `use` as in `owned_backend`. Raises BackendUnavailable."""
    async with (
        owned_backend(settings, use) as (backend, label),
        open_images(settings) as images,
        open_services(settings) as services,
    ):
        yield Player(backend, images, open_artifacts(settings), owner=label, services=services)


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """What all episodes share, for the block. Raises CorpusError, StorageError, SearchUnavailable."""
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(
            open_served(settings.corpora, settings.search_index, settings.embeddings, settings.live.open(settings.data))
        )
        judge = settings.judge.open(settings.data)
        if judge is not None:
            stack.push_async_callback(judge.close)
        yield Services(retrievers=served, judge=judge, renderer=settings.renderer_image)


def open_pushed(settings: Settings) -> PushedTable:
    """The images that were pushed for the tasks: none where no table is named. Raises ImageError."""
    return PushedTable.read(settings.images) if settings.images else PushedTable()


def open_artifacts(settings: Settings) -> Artifacts:
    """The folder of artefacts."""
    return Artifacts(settings.artifacts or settings.data / "artifacts")


def roots(settings: Settings) -> list[Path]:
    """The folders that tasks are looked for in."""
    return [*([samples()] if settings.samples else []), *settings.tasks]


def open_registry(settings: Settings) -> Registry:
    """Every task that is served. Raises TaskError."""
    return Registry(roots(settings), isolation=settings.isolation, network=settings.network)


@asynccontextmanager
async def open_farm(settings: Settings) -> AsyncIterator[Farm]:
    """A farm that runs until the end of the block.

    Raises DataInUse, StoreError, BackendUnavailable, TaskError: each a line that names the fix.
    """
    async with AsyncExitStack() as stack:
        registry = open_registry(settings)
        identity = Identity(settings.data)
        stack.callback(identity.release)
        backend = open_backend(settings)
        toolbox = Toolbox(
            backend,
            owner=identity.owner,
            warm=settings.warm,
            capacity=settings.capacity,
            queue=settings.queue,
            starts=settings.starts,
        )
        core = Core(
            store=Store(settings.database_url),
            backend=backend,
            toolbox=toolbox,
            registry=registry,
            images=await stack.enter_async_context(open_images(settings)),
            artifacts=open_artifacts(settings),
            owner=identity.owner,
            settings=farm_settings(settings),
            services=await stack.enter_async_context(open_services(settings)),
        )
        farm = Farm(core)
        stack.push_async_callback(farm.close)  # of a farm that only half started, too
        await farm.start()
        yield farm


def farm_settings(settings: Settings) -> FarmSettings:
    """What the farm itself reads. Raises SettingsError: two settings that do not go together."""
    orphans, silence = settings.kubernetes.orphan_seconds, settings.takeover_seconds
    if settings.backend == "kubernetes" and settings.takeover and orphans < _TAKES * silence:
        raise SettingsError(
            f"kubernetes.orphan_seconds is {orphans:g}: a dead server's pods would go before another takes them over "
            f"(takeover_seconds is {silence:g}); set it to {_TAKES * silence:g} or more, or takeover_seconds lower"
        )
    return FarmSettings(
        lease_seconds=settings.lease_seconds,
        suspend_seconds=settings.suspend_seconds,
        max_turns=settings.max_turns,
        step_timeout=settings.step_timeout,
        episode_timeout=settings.episode_timeout,
        output_limit=settings.output_limit,
        kept_outputs=settings.kept_outputs,
        takeover=settings.takeover,
        takeover_seconds=settings.takeover_seconds,
        advertise=settings.advertise,
    )
