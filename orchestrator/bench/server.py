"""A farm in a process of its own for a benchmark, with one task that needs no build."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envfarm.toolbox.errors import FarmError
from envfarm.trainers.client import Client

BASE = "envfarm/base:1"
TASK = "bench"
TRUE = [{"name": "bash", "arguments": {"command": "true"}}]
_TASK_TOML = """\
[environment]
docker_image = "{image}"
[envfarm]
isolation = "{isolation}"
"""


class BenchFailed(FarmError):
    """The benchmark cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class BenchServer:
    """A running server: its client, and its process id."""

    client: Client
    pid: int

    def resident_mb(self) -> float:
        """Memory that the server's process holds now, in MiB."""
        with open(f"/proc/{self.pid}/status") as status:
            line = next(line for line in status if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


@asynccontextmanager
async def bench_server(
    *, isolation: str = "runc", image: str = BASE, **settings: str | int | float
) -> AsyncIterator[BenchServer]:
    """Start `envfarm serve` on a free port with a data folder of its own; `settings` are its settings.

    Raises BenchFailed with what the server said.
    """
    with tempfile.TemporaryDirectory(prefix="envfarm-bench-") as name:
        root = Path(name)
        _write_task(root / "tasks" / TASK, isolation, image)
        chosen = {
            "data": root / "data",
            "port": 0,
            "tasks": root / "tasks",
            "samples": "false",
            "max_turns": 1_000_000,  # --rounds may be any number
            **settings,
        }
        environment = {**os.environ, **{f"ENVFARM_{key.upper()}": str(value) for key, value in chosen.items()}}
        log = root / "log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "envfarm.orchestrator.cli", "serve", stdout=out, stderr=out, env=environment
            )
        try:
            url = await _announced(process, root / "data" / "server.json", log)
            async with Client(url, timeout=300) as client:
                yield BenchServer(client, process.pid)
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


def _write_task(folder: Path, isolation: str, image: str) -> None:
    for name in ("tests", "environment"):
        (folder / name).mkdir(parents=True)
    (folder / "task.toml").write_text(_TASK_TOML.format(image=image, isolation=isolation))
    (folder / "instruction.md").write_text("Run what you are told.\n")
    (folder / "tests" / "test.sh").write_text("echo 1 > /logs/verifier/reward.txt\n")


async def _announced(process: asyncio.subprocess.Process, place: Path, log: Path) -> str:
    """The address that the server wrote down once it listened."""
    for _ in range(600):
        if url := _address(place):
            return url
        if process.returncode is not None:
            break
        await asyncio.sleep(0.1)
    raise _failure(log)


def _address(place: Path) -> str | None:
    return str(json.loads(place.read_text())["url"]) if place.exists() else None


def _failure(log: Path) -> BenchFailed:
    return BenchFailed(f"the server did not start: {log.read_text()[-500:]}")


async def running(client: Client, **request: Any) -> list[str]:
    """Create episodes of the benchmark's task and wait until all of them can be stepped; returns their ids."""
    episodes = await client.create(TASK, **request)
    for episode in episodes:
        while (now := await client.episode(episode["id"], wait=30))["state"] in ("queued", "starting"):
            pass
        if now["state"] != "running":
            raise BenchFailed(f"an episode of the benchmark is {now['state']}: {now['reason']}")
    return [episode["id"] for episode in episodes]
