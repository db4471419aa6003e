"""A server's share of the cluster's benchmark, in a process that can be killed: keeps a pool full, claims, releases.

`python -m envfarm.orchestrator.bench.claimer NAMESPACE OWNER PODS CLAIMERS FOLDER` writes to FOLDER: `claims`, a line
for each claim (pod, milliseconds), and `state.json`, what it is at, every half a second.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import IO

import orjson

from envfarm.orchestrator.bench import played
from envfarm.toolbox.sandboxes.base import Limits, SandboxSpec
from envfarm.toolbox.toolbox import Toolbox

SPEC = SandboxSpec(image="played:1", network="public", limits=Limits(cpus=1, memory_mb=1024))


async def serve(namespace: str, owner: str, pods: int, claimers: int, folder: Path) -> None:
    """Fill a pool, say so, then claim and release until this process is killed."""
    backend = played.PlayedBackend(played.config(folder, namespace))
    toolbox = Toolbox(backend, owner=owner, capacity=pods + claimers, reserve=0, queue=claimers, starts=256)
    began = time.perf_counter()
    left = [one.id for one in await backend.find(owner) if one.warm]
    await backend.reap(owner, keep=left)  # as a server does that starts again
    toolbox.prewarm(SPEC, pods)
    filled: float | None = None
    lags: list[float] = []
    with (folder / "claims").open("a", buffering=1) as claims:
        workers: list[asyncio.Task[None]] = []
        while not any(worker.done() for worker in workers):
            stats = toolbox.stats()
            if filled is None and stats.warm >= pods:
                filled = time.perf_counter() - began
                workers = [asyncio.create_task(_claim(toolbox, number, claims)) for number in range(claimers)]
            lags.append(backend.pods.lag)
            state = {
                "left": len(left), "warm": stats.warm, "filled": filled, "hits": stats.warm_hits,
                "cold": stats.cold_starts, "requests": dict(backend.api.requests), "lag": max(lags[-20:]),
            }  # fmt: skip
            _write(folder / "state.json", orjson.dumps(state))
            await asyncio.sleep(0.5)
        await asyncio.gather(*workers)


async def _claim(toolbox: Toolbox, number: int, claims: IO[str]) -> None:
    while True:
        began = time.perf_counter()
        sandbox = await toolbox.lease(SPEC, lease=f"bench-{number}")
        claims.write(f"{sandbox.id} {(time.perf_counter() - began) * 1000:.3f}\n")
        await sandbox.run("true", session="agent")
        await toolbox.release(sandbox)


def _write(place: Path, data: bytes) -> None:
    new = place.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, place)


if __name__ == "__main__":
    _, namespace, owner, pods, claimers, folder = sys.argv
    asyncio.run(serve(namespace, owner, int(pods), int(claimers), Path(folder)))
