"""Ten thousand pods on a real API server, played by kwok: a pool filled, claimed from, its server killed midway."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from envfarm.k8s.client import ApiRefused, ClusterApi
from envfarm.k8s.config import KubernetesConfig
from envfarm.orchestrator.bench import played
from envfarm.orchestrator.bench.report import Row, row
from envfarm.orchestrator.bench.server import BenchFailed

PODS = int(os.environ.get("BENCH_PODS", "10000"))
"""Pods of the pool."""
CLAIMERS = 32
_OWNER = "bench"
_FILL = 1800.0


@dataclass(slots=True)
class Share:
    """A claimer's process, and what it says."""

    process: asyncio.subprocess.Process
    folder: Path

    def state(self) -> dict[str, Any]:
        """What it wrote last; nothing before it wrote."""
        place = self.folder / "state.json"
        return dict(orjson.loads(place.read_bytes())) if place.exists() else {}

    async def filled(self) -> dict[str, Any]:
        """Wait until its pool is full. Raises BenchFailed."""
        until = time.monotonic() + _FILL
        while time.monotonic() < until and self.process.returncode is None:
            if (state := self.state()).get("filled"):
                return state
            await asyncio.sleep(0.5)
        raise BenchFailed(f"the pool of {PODS} did not fill: {self.state()} {self._log()}")

    def used(self) -> tuple[float, float]:
        """Processor seconds, and MiB of memory held."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        held = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), held

    async def kill(self) -> None:
        """End it without warning."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def _log(self) -> str:
        return (self.folder / "log").read_text()[-500:]


async def measure(rounds: int, cache: Path) -> list[Row]:
    """Fill, claim for 1.5 s a round, with the server killed in the middle."""
    seconds = 1.5 * rounds
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="envfarm-bench-")))
        namespace = await stack.enter_async_context(_stage(folder))
        first = await stack.enter_async_context(_share(namespace, folder))
        before = await first.filled()
        rows = [row(f"pool of {PODS:,} pods filled", "s", before["filled"], None, None)]
        rows += await _claiming(first, seconds / 2)
        await first.kill()
        (folder / "state.json").unlink()
        second = await stack.enter_async_context(_share(namespace, folder))
        after = await second.filled()
        rows += [
            row("the same after kill -9 and a restart", "s", after["filled"], None, None),
            row("warm pods taken back by the restart", "", after["left"], None, None),
        ]
        await asyncio.sleep(seconds / 2)
        await second.kill()
        rows += await _verdict(namespace, (folder / "claims").read_text())
    return rows


async def _claiming(share: Share, seconds: float) -> list[Row]:
    """What claims take and cost: first out of the full pool, then as fast as pods are made anew."""
    claims = share.folder / "claims"
    (cpu, _), requests = share.used(), sum(share.state()["requests"].values())
    began, lags, full = time.perf_counter(), [], (0.0, 0)
    while time.perf_counter() - began < seconds:
        await asyncio.sleep(1)
        state = share.state()
        lags.append(state["lag"])
        if state["warm"] > CLAIMERS and len(lags) == 1 + round(full[0]):
            full = float(len(lags)), len(_times(claims))
    took, times = time.perf_counter() - began, _times(claims)
    (cpu_after, held), asked = share.used(), sum(share.state()["requests"].values()) - requests
    if not full[1]:
        raise BenchFailed("nothing was claimed while the pool was full")
    warm = sorted(times[: full[1]])
    return [
        row("claims a second, out of the full pool", "1/s", len(warm) / full[0], None, None),
        row("claims a second, sustained", "1/s", len(times) / took, None, None),
        row("claim of a warm pod, p50", "ms", statistics.median(warm), None, None),
        row("claim of a warm pod, p99", "ms", warm[int(len(warm) * 0.99)], None, None),
        row("API requests a claim (with its pod's making and removal)", "", asked / len(times), None, None),
        row("API requests a second", "1/s", asked / took, None, None),
        row("watch lag, worst", "s", max(lags), None, None),
        row("orchestrator, memory", "MiB", held, None, None),
        row("orchestrator, processor", "cores", (cpu_after - cpu) / took, None, None),
    ]


def _times(claims: Path) -> list[float]:
    return [float(line.split()[1]) for line in claims.read_text().splitlines()]


async def _verdict(namespace: str, claims: str) -> list[Row]:
    """Whether a pod was claimed twice, and whether any is there that nobody counts."""
    names = [line.split()[0] for line in claims.splitlines()]
    api = ClusterApi(KubernetesConfig(namespace=namespace))
    try:
        pods = await api.request("GET", f"/api/v1/namespaces/{namespace}/pods")
    finally:
        await api.close()
    there = {pod["metadata"]["name"] for pod in pods["items"]}
    return [
        row("pods claimed twice", "", len(names) - len(set(names)), None, None),
        row("pods above the pool and its claimers", "", max(0, len(there) - PODS - 2 * CLAIMERS), None, None),
    ]


@asynccontextmanager
async def _share(namespace: str, folder: Path) -> AsyncIterator[Share]:
    words = [namespace, _OWNER, str(PODS), str(CLAIMERS), str(folder)]
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "envfarm.orchestrator.bench.claimer", *words, stdout=log, stderr=log
        )
    share = Share(process, folder)
    try:
        yield share
    finally:
        await share.kill()


@asynccontextmanager
async def _stage(folder: Path) -> AsyncIterator[str]:
    """A namespace, kwok's nodes and kwok itself, for the block. Raises BenchFailed, BackendUnavailable."""
    program = shutil.which(os.environ.get("BENCH_KWOK", "kwok"))
    if program is None:
        raise BenchFailed("kwok: not on the PATH; build it with `make kwok`, and name with BENCH_KWOK what that says")
    api = ClusterApi(KubernetesConfig(qps=500, burst=500))
    namespace = f"envfarm-bench-{secrets.token_hex(3)}"
    nodes = [played.node(number) for number in range(-(-(PODS + 2 * CLAIMERS) // played.PODS_OF_A_NODE))]
    with (folder / "kwok.log").open("wb") as log:
        kwok = await asyncio.create_subprocess_exec(
            program, "--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--cidr=10.96.0.0/11", "--node-lease-duration-seconds=200", stdout=log, stderr=log,
        )  # fmt: skip
    try:
        await api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": namespace}})
        await asyncio.gather(*(_add(api, node) for node in nodes))
        yield namespace
    finally:
        await api.request("DELETE", f"/api/v1/namespaces/{namespace}")
        while await _pods(api, namespace):  # noqa: ASYNC110  # kwok must see them go
            await asyncio.sleep(1)
        kwok.terminate()
        await kwok.wait()
        await asyncio.gather(*(api.request("DELETE", f"/api/v1/nodes/{one['metadata']['name']}") for one in nodes))
        await api.close()


async def _add(api: ClusterApi, node: dict[str, Any]) -> None:
    try:
        await api.request("POST", "/api/v1/nodes", body=node)
    except ApiRefused as error:
        if error.reason != "AlreadyExists":
            raise


async def _pods(api: ClusterApi, namespace: str) -> int:
    return len((await api.request("GET", f"/api/v1/namespaces/{namespace}/pods", query={"limit": "1"}))["items"])
