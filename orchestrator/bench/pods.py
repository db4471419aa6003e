"""Real pods: one step against one exec for each command, a warm claim, thirty made at once, a hundred alive."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from envfarm.k8s import faults, labels
from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.client import ClusterApi
from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.pod import manifest
from envfarm.orchestrator.bench import peers
from envfarm.orchestrator.bench.report import Row, median, percentile, row, time_each, timed
from envfarm.orchestrator.bench.server import TASK, TRUE, bench_server, running
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec

IMAGE = os.environ.get("BENCH_IMAGE", "localhost:5000/envfarm/base:1")
"""The sandboxes' image, in a registry that the cluster pulls from."""
AT_ONCE, ALIVE = 30, 100
_OWNER = "bench"
_REFILL = 3.0


async def measure(rounds: int, cache: Path) -> list[Row]:
    """Medians in milliseconds, on the cluster that KUBECONFIG names."""
    async with _namespace() as namespace:
        rows = []
        for isolation in ("runc", "gvisor"):
            rows += await _steps(namespace, isolation, rounds)
        rows.append(await _warm(namespace, min(rounds, 15)))
        rows += await _many(namespace)
    return rows


async def _steps(namespace: str, isolation: str, rounds: int) -> list[Row]:
    async with bench_server(isolation=isolation, image=IMAGE, **_settings(namespace)) as server:
        [episode] = await running(server.client)
        await time_each(lambda: server.client.step(episode, TRUE), 20)  # warms up
        times = await time_each(lambda: server.client.step(episode, TRUE), rounds)
        api = ClusterApi(KubernetesConfig(namespace=namespace))
        pods = (await api.request("GET", f"/api/v1/namespaces/{namespace}/pods"))["items"]
        await api.close()
        leased = [pod for pod in pods if pod["metadata"]["labels"][labels.STATE] == labels.LEASED]
        name = leased[0]["metadata"]["name"]
        plain = await asyncio.to_thread(peers.pod_exec, namespace, name, faults.CONTAINER, min(rounds, 50))
        await server.client.delete(episode)
    what = f"bash step over HTTP in a pod, {isolation}, p50"
    return [row(what, "ms", median(times), median(plain), "an exec for each command (kubernetes)")]


async def _warm(namespace: str, rounds: int) -> Row:
    async with bench_server(image=IMAGE, warm=2, **_settings(namespace)) as server:
        for episode in await running(server.client, n=2):  # the pool keeps an image warm from its second use on
            await server.client.delete(episode)
        times = []
        for _ in range(rounds):
            await asyncio.sleep(_REFILL)
            begin = time.perf_counter()
            [episode] = [one["id"] for one in await server.client.create(TASK)]
            await server.client.step(episode, TRUE)
            times.append(time.perf_counter() - begin)
            await server.client.delete(episode)
    cold = await _cold(namespace, 5)
    return row("warm pod claimed, request to first observation, p50", "ms", median(times), cold, "a pod made for it")


async def _cold(namespace: str, rounds: int) -> float:
    async with _backend(namespace) as backend:

        async def first() -> None:
            sandbox = await backend.start(SandboxSpec(image=IMAGE), owner=_OWNER, lease="cold")
            await sandbox.run("true")
            await sandbox.close()

        return median(await time_each(first, rounds))


async def _many(namespace: str) -> list[Row]:
    """Thirty at once beside bare ones of the same spec, then a hundred alive and a step in each."""
    async with _backend(namespace) as backend:
        ours, sandboxes = await _started(backend, AT_ONCE)
        await asyncio.gather(*(sandbox.close() for sandbox in sandboxes))
        bare = await _bare(backend, AT_ONCE)
        took, sandboxes = await _started(backend, ALIVE)
        await asyncio.gather(*(sandbox.run("true", session="agent") for sandbox in sandboxes))  # opens the sessions
        times = await asyncio.gather(*(timed(sandbox.run("true", session="agent")) for sandbox in sandboxes))
        await asyncio.gather(*(sandbox.close() for sandbox in sandboxes))
    peer = "kubectl create of the same pods, until all run"
    return [
        row(f"{AT_ONCE} pods at once, request to a held shell in each", "s", ours, bare, peer),
        row(f"{ALIVE} pods at once, request to a held shell in each", "s", took, None, None),
        row(f"a command in each of {ALIVE} pods at once, p50", "ms", median(times), None, None),
        row(f"a command in each of {ALIVE} pods at once, p99", "ms", percentile(times, 99), None, None),
    ]


async def _started(backend: KubernetesBackend, count: int) -> tuple[float, list[Sandbox]]:
    begin = time.perf_counter()
    spec = SandboxSpec(image=IMAGE)
    starts = (backend.start(spec, owner=_OWNER, lease=f"{number}") for number in range(count))
    sandboxes = await asyncio.gather(*starts)
    return time.perf_counter() - begin, list(sandboxes)


async def _bare(backend: KubernetesBackend, count: int) -> float:
    """Seconds until as many pods of the same spec run that `kubectl create` makes from one file."""
    pods = [_pod(backend, number) for number in range(count)]
    seconds = await peers.kubectl_create(backend.config.namespace, pods)
    removals = (backend.api.request("DELETE", f"{backend.path}/{pod['metadata']['name']}") for pod in pods)
    await asyncio.gather(*removals)
    return seconds


def _pod(backend: KubernetesBackend, number: int) -> dict[str, Any]:
    return manifest(
        backend.template,
        backend.config,
        SandboxSpec(image=IMAGE),
        name=f"bare-{number}",
        image=IMAGE,
        command=["/bin/sh", "-c", "read line"],
        labels={"app": "bare"},
        annotations={},
        deadline=600,
        egress=backend.egress,
    )


def _settings(namespace: str) -> dict[str, Any]:
    return {"backend": "kubernetes", "kubernetes__namespace": namespace, "kubernetes__cpu_requests": 0.01,
            "kubernetes__memory_requests": 0.02, "capacity": 8}  # fmt: skip


@asynccontextmanager
async def _backend(namespace: str) -> AsyncIterator[KubernetesBackend]:
    config = KubernetesConfig(namespace=namespace, cpu_requests=0.01, memory_requests=0.02, qps=500, burst=500)
    backend = KubernetesBackend(config)
    try:
        await backend.open()
        yield backend
    finally:
        await backend.reap(_OWNER, keep=())
        await backend.close()


@asynccontextmanager
async def _namespace() -> AsyncIterator[str]:
    name = f"envfarm-bench-{secrets.token_hex(3)}"
    api = ClusterApi(KubernetesConfig())
    try:
        await api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
        try:
            yield name
        finally:
            await api.request("DELETE", f"/api/v1/namespaces/{name}")
    finally:
        await api.close()
