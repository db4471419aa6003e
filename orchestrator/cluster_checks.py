"""What a farm needs from its cluster, looked at one by one: the API, the pod's template, the cuts of the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import get_args

from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.preflight import preflight, probe
from envfarm.orchestrator.checks import Finding, cut_well, short
from envfarm.orchestrator.owners import owner
from envfarm.orchestrator.settings import Settings
from envfarm.toolbox.errors import ImageError, SandboxError
from envfarm.toolbox.sandboxes.base import Isolation, Network
from envfarm.toolbox.sandboxes.reach import faulty

_CUT: tuple[Network, ...] = ("none", "allowlist")


async def cluster(settings: Settings) -> list[Finding]:
    """The API with the template tried on it, and a probe sandbox of each isolation."""
    config = settings.kubernetes.model_copy(update={"patience": 2.0, "prove": False})
    backend = KubernetesBackend(config, egress=settings.egress)
    try:
        return [finding async for finding in _findings(backend, settings)]
    finally:
        await backend.close()


async def _findings(backend: KubernetesBackend, settings: Settings) -> AsyncIterator[Finding]:
    try:
        await backend.open()
    except SandboxError as error:
        yield Finding("cluster", "missing", "", short(error))
        return
    yield Finding("cluster", "ok", f"{backend.api.host}, namespace {settings.kubernetes.namespace}")
    async with owner(settings.data, "doctor", backend) as label:
        for network in _CUT:
            for isolation in get_args(Isolation):
                yield await _cut(backend, settings, (isolation, network), label)


async def _cut(backend: KubernetesBackend, settings: Settings, kind: tuple[Isolation, Network], label: str) -> Finding:
    isolation, network = kind
    check = f"network {network}, {isolation}"
    needed = network == "none" and isolation == settings.isolation  # lists are for the tasks that have one
    try:
        found = await preflight(backend, probe(backend, *kind), owner=label)
    except (SandboxError, ImageError) as error:
        return Finding(check, "missing" if needed else "note", "no probe could be made", short(error))
    if wrong := faulty(found):
        fix = "cut the sandboxes' network (docs/kubernetes.md), or set kubernetes.prove to false to do without"
        return Finding(check, "unusable" if settings.kubernetes.prove else "note", f"a probe {wrong}", fix)
    return cut_well(check, found)
