"""Owners of short-lived commands' sandboxes: one each, and what a killed process left is removed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from envfarm.orchestrator.owners import owner
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend

SPEC = SandboxSpec(image="none")
HOLD = """
import asyncio, sys
from pathlib import Path
from envfarm.orchestrator.owners import owner
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend

async def main():
    async with owner(Path(sys.argv[1]), "gate", SimulatedBackend()) as label:
        print(label, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_each_block_has_an_owner_of_its_own(tmp_path: Path) -> None:
    backend = SimulatedBackend()
    async with (
        owner(tmp_path, "gate", backend) as first,
        owner(tmp_path, "gate", backend) as second,
        owner(tmp_path, "factory", backend) as other,
        owner(tmp_path / "more", "gate", backend) as elsewhere,
    ):
        assert len({first, second, other, elsewhere}) == 4
    async with owner(tmp_path, "gate", backend) as again:
        assert again == first


async def test_nothing_is_left_by_a_block_that_fails(tmp_path: Path) -> None:
    backend = SimulatedBackend()
    labels = []

    async def fail() -> None:
        async with owner(tmp_path, "gate", backend) as label:
            labels.append(label)
            await backend.start(SPEC, owner=label, lease="x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await backend.find(labels[0]) == []


async def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    label = (await process.stdout.readline()).decode().strip()
    backend = SimulatedBackend()
    await backend.start(SPEC, owner=label, lease="of the killed one")
    async with owner(tmp_path, "gate", backend) as mine:
        assert mine != label
        assert len(await backend.find(label)) == 1
    process.kill()
    await process.wait()
    async with owner(tmp_path, "gate", backend) as mine:
        assert mine == label
        assert await backend.find(label) == []
    await backend.close()
