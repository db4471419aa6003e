"""Faults, made for real: each has its own type and a cause that a person can act on."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import docker
import pytest

from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.pod import TemplateError
from envfarm.toolbox.errors import ImageError, SandboxLost, SandboxStartError
from envfarm.toolbox.sandboxes.base import WARM, Limits, Sandbox, SandboxSpec

from ..conftest import Cluster
from .conftest import Open


async def start(backend: KubernetesBackend, spec: SandboxSpec, **changes: Any) -> Sandbox:
    return await backend.start(spec.model_copy(update=changes), owner="tests", lease="x")


async def nothing_is_left(backend: KubernetesBackend) -> None:
    assert await backend.find("tests") == []


async def ended(sandbox: Sandbox, command: str = "sleep 100") -> SandboxLost:
    """Why it was lost."""
    with pytest.raises(SandboxLost) as error:
        await sandbox.run(command, timeout=100)
    with pytest.raises(SandboxLost):
        await sandbox.run("true")
    await sandbox.close()
    return error.value


async def test_an_image_that_does_not_exist(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    with pytest.raises(ImageError, match=r"no image .*no-such-image.*not found"):
        await start(backend, spec, image=spec.image.replace("busybox", "no-such-image"))
    await nothing_is_left(backend)


async def test_an_image_whose_name_is_none(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    with pytest.raises((ImageError, SandboxStartError), match="Not A Name"):
        await start(backend, spec, image="Not A Name")
    await nothing_is_left(backend)


async def test_an_image_without_a_shell(
    backend: KubernetesBackend, spec: SandboxSpec, cluster: Cluster, engine: docker.DockerClient
) -> None:
    engine.images.build(fileobj=io.BytesIO(b"FROM scratch\nENV A=b\n"), tag="envfarm-tests/empty:1")
    empty = cluster.push("envfarm-tests/empty:1")
    with pytest.raises(SandboxStartError, match="no such file"):
        await start(backend, spec, image=empty)
    await nothing_is_left(backend)


async def test_no_node_has_room(open_backend: Open, spec: SandboxSpec) -> None:
    backend = open_backend(unschedulable_seconds=2, cpu_requests=1.0)
    with pytest.raises(SandboxStartError, match="Insufficient cpu") as error:
        await start(backend, spec, limits=Limits(cpus=500))
    assert error.value.cause == "unschedulable"
    await nothing_is_left(backend)


async def test_the_quota_is_used_up(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    await backend.open()
    path = f"/api/v1/namespaces/{backend.config.namespace}/resourcequotas"
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "gpus"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "1"}},
    }
    await backend.api.request("POST", path, body=quota)
    try:
        for _ in range(100):  # until the controller has counted
            if (await backend.api.request("GET", f"{path}/gpus")).get("status", {}).get("used"):
                break
            await asyncio.sleep(0.1)
        with pytest.raises(SandboxStartError, match=r"quota of namespace .*gpu") as error:
            await start(backend, spec, limits=Limits(cpus=0.1, memory_mb=64, gpus=2))
        assert error.value.cause == "quota"
    finally:
        await backend.api.request("DELETE", f"{path}/gpus")
    await nothing_is_left(backend)


async def test_a_namespace_that_is_not_there(open_backend: Open) -> None:
    with pytest.raises(TemplateError, match=r"namespace no-such: .*make it"):
        await open_backend(namespace="no-such").open()


async def test_the_main_process_out_of_memory(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    sandbox = await start(backend, spec, limits=Limits(cpus=0.5, memory_mb=24))
    assert (await ended(sandbox, "#" * (15 << 20))).cause == "oom"


async def test_a_pod_that_somebody_deletes(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    sandbox = await start(backend, spec)
    call = asyncio.create_task(ended(sandbox))
    await asyncio.sleep(0.5)
    await backend.api.request("DELETE", f"{backend.path}/{sandbox.id}")
    assert (await call).cause == "removed"
    with pytest.raises(SandboxLost) as error:
        await backend.attach(sandbox.id)
    assert error.value.cause == "removed"


async def test_a_pod_that_is_evicted(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    sandbox = await start(backend, spec)
    call = asyncio.create_task(ended(sandbox))
    await asyncio.sleep(0.5)
    about = {"name": sandbox.id, "namespace": backend.config.namespace}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about}
    await backend.api.request("POST", f"{backend.path}/{sandbox.id}/eviction", body=body)
    assert (await call).cause == "evicted"


async def test_a_pod_that_fills_its_disk(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    sandbox = await start(backend, spec, limits=Limits(cpus=0.5, memory_mb=128, disk_mb=20))
    error = await ended(sandbox, "dd if=/dev/zero of=/tmp/full bs=1M count=100; sleep 100")
    assert error.cause == "evicted"
    assert "ephemeral" in str(error)


async def test_a_pod_that_lives_too_long(open_backend: Open, spec: SandboxSpec) -> None:
    backend = open_backend(deadline_seconds=1)
    sandbox = await backend.start(spec, owner="tests", lease=WARM)  # which has none, as it only waits
    assert await backend.claim(sandbox, owner="tests", lease="x")
    assert (await ended(sandbox)).cause == "deadline"


async def test_a_pod_that_dies_before_it_is_ready_is_replaced(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    await backend.open()
    starting = asyncio.create_task(start(backend, spec))
    while not len(backend.pods):  # noqa: ASYNC110 - its name is not known yet
        await asyncio.sleep(0.01)
    first = next(iter(backend.pods)).name
    await backend.api.request("DELETE", f"{backend.path}/{first}")
    sandbox = await starting
    assert sandbox.id != first
    assert (await sandbox.run("echo fine")).stdout == b"fine\n"
    await sandbox.close()
    await nothing_is_left(backend)
