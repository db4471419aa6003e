"""What a farm needs from its cluster, looked at one by one: the API, the pod's template, the cut of the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import get_args

from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.preflight import preflight, probe
from envfarm.orchestrator.checks import Finding, short
from envfarm.orchestrator.owners import owner
from envfarm.orchestrator.settings import Settings
from envfarm.toolbox.errors import ImageError, SandboxError
from envfarm.toolbox.sandboxes.base import Isolation


async def cluster(settings: Settings) -> list[Finding]:
    """The API with the template tried on it, and a probe sandbox of each isolation."""
    backend = KubernetesBackend(settings.kubernetes.model_copy(update={"patience": 2.0, "prove": False}))
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
        for isolation in get_args(Isolation):
            yield await _isolation(backend, settings, isolation, label)


async def _isolation(backend: KubernetesBackend, settings: Settings, isolation: Isolation, label: str) -> Finding:
    check, wanted = f"network none, {isolation}", isolation == settings.isolation
    try:
        found = await preflight(backend, probe(backend, isolation), owner=label)
    except (SandboxError, ImageError) as error:
        return Finding(check, "missing" if wanted else "note", "no probe could be made", short(error))
    wrong = [f"{one.name} at {one.target}: {one.detail}" for one in found if not one.ok]
    if wrong:
        fix = "cut the sandboxes' network (docs/kubernetes.md), or set kubernetes.prove to false to do without"
        return Finding(check, "unusable" if settings.kubernetes.prove else "note", "; ".join(wrong), fix)
    return Finding(check, "ok", f"a probe reached none of {', '.join(one.name for one in found[1:])}")
