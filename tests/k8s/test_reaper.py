"""The reaper: what is nobody's goes, and nothing else ever does."""

from __future__ import annotations

import asyncio
from typing import Any

from envfarm.k8s import labels
from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.client import JSON_PATCH
from envfarm.k8s.pods import Pod
from envfarm.toolbox.sandboxes.base import WARM, SandboxSpec

from .conftest import Open, gone


async def settled(backend: KubernetesBackend) -> None:
    """Until the watch has shown every pod."""
    await asyncio.sleep(0.5)


async def swept(backend: KubernetesBackend, times: int = 3) -> list[str]:
    """What several looks, apart by more than an owner may be silent, removed."""
    removed = []
    for _ in range(times):
        removed += await backend.reaper.sweep()
        await asyncio.sleep(0.4)
    return removed


async def plain(backend: KubernetesBackend, name: str, tags: dict[str, str]) -> str:
    """A pod that the back end did not make."""
    container = {"name": "x", "image": backend.config.cut_image}
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": tags},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    await backend.api.request("POST", backend.path, body=body)
    return name


async def test_the_pods_of_a_dead_server_go(open_backend: Open, spec: SandboxSpec) -> None:
    dead, alive = open_backend(orphan_seconds=3600), open_backend(orphan_seconds=0.3)
    orphan = await dead.start(spec, owner="dead", lease="x")
    own = await alive.start(spec, owner="alive", lease="x")
    await orphan.detach()
    await dead.close()  # it has pods, so its Lease stays; from now on nobody renews it
    await settled(alive)
    await swept(alive)
    assert await gone(alive.api, f"{alive.path}/{orphan.id}")
    assert alive.reaper.reaped == 1
    assert (await own.run("echo kept")).stdout == b"kept\n"


async def test_the_pods_of_a_server_that_lives_stay(open_backend: Open, spec: SandboxSpec) -> None:
    other, looker = open_backend(orphan_seconds=0.6), open_backend(orphan_seconds=2.0)  # it renews every tenth second
    sandbox = await other.start(spec, owner="other", lease="x")
    await looker.open()
    await settled(looker)
    assert await swept(looker, 8) == []
    assert (await sandbox.run("echo kept")).stdout == b"kept\n"


async def test_a_lease_stays_as_long_as_there_are_pods(open_backend: Open, spec: SandboxSpec) -> None:
    backend = open_backend()
    sandbox = await backend.start(spec, owner="leaver", lease="x")
    lease = f"{backend.reaper._leases}/{backend.reaper._name('leaver')}"
    await backend.close()
    assert not await gone(backend.api, lease)
    await backend.open()
    await backend.reaper.serve("leaver")
    await sandbox.close()
    await backend.close()
    assert await gone(backend.api, lease)


async def test_nothing_else_is_ever_touched(open_backend: Open, spec: SandboxSpec) -> None:
    looker = open_backend(orphan_seconds=0.3)
    await looker.open()
    strangers = [
        await plain(looker, "stranger", {"app": "mine"}),
        await plain(looker, "other-farm", {labels.FARM: "another", labels.OWNER: "dead"}),
        await plain(looker, "half-labelled", {labels.FARM: looker.config.farm}),
    ]
    await settled(looker)
    assert await swept(looker) == []
    assert await looker.reap("dead", keep=()) == []
    for name in strangers:
        assert not await gone(looker.api, f"{looker.path}/{name}")
        await looker.api.request("DELETE", f"{looker.path}/{name}")


async def test_a_pod_of_that_name_made_since_is_another_one(open_backend: Open, spec: SandboxSpec) -> None:
    backend = open_backend()
    sandbox = await backend.start(spec, owner="tests", lease="x")
    before = backend.pods.get(sandbox.id)
    assert before is not None
    await sandbox.close()
    await plain(backend, sandbox.id, {labels.FARM: backend.config.farm, labels.OWNER: "tests"})
    await backend.remove(before)
    assert not await gone(backend.api, f"{backend.path}/{sandbox.id}")


async def test_a_pod_that_ended_long_ago_goes(open_backend: Open, spec: SandboxSpec) -> None:
    backend = open_backend(orphan_seconds=0.3)
    sandbox = await backend.start(spec, owner="tests", lease=WARM)
    end = [{"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 1}]
    await backend.api.request("PATCH", f"{backend.path}/{sandbox.id}", body=end, content_type=JSON_PATCH)

    def over(pod: Pod | None) -> bool | None:
        return True if pod is None or pod.phase == "Failed" else None

    await backend.pods.until(sandbox.id, over, 60)
    await swept(backend)
    assert backend.pods.get(sandbox.id) is None
