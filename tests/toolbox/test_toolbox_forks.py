"""Forks through the allocator: they take places like every sandbox, at once or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from envfarm.toolbox.errors import FarmFull, SandboxLost, SandboxStartError
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend
from envfarm.toolbox.toolbox import Toolbox

A, B = SandboxSpec(image="a"), SandboxSpec(image="b")
Make = Callable[..., Toolbox]


@pytest.fixture
def backend() -> SimulatedBackend:
    return SimulatedBackend()


@pytest.fixture
async def make(backend: SimulatedBackend) -> AsyncIterator[Make]:
    """Makes a toolbox and closes it; what is left then is what is leased."""
    made: list[Toolbox] = []

    def build(**options: Any) -> Toolbox:
        made.append(Toolbox(backend, owner="test", **{"capacity": 3, "queue": 10, "tick": 0.01} | options))
        return made[-1]

    yield build
    for toolbox in made:
        await toolbox.close()
        assert len(backend.sandboxes) == toolbox.stats().leased


async def test_a_fork_is_a_lease_with_the_origins_files(make: Make, backend: SimulatedBackend) -> None:
    toolbox = make()
    origin = await toolbox.lease(A, lease="one", run="r")
    await origin.write("/file", b"kept")
    twins = await toolbox.fork(origin, ["two", "three"], run="r")
    assert [await twin.read("/file") for twin in twins] == [b"kept", b"kept"]
    await twins[0].write("/file", b"own")
    assert await origin.read("/file") == b"kept"
    assert {info.lease for info in await backend.find("test")} == {"one", "two", "three"}
    assert (toolbox.stats().leased, toolbox.stats().forks) == (3, 2)
    with pytest.raises(FarmFull, match="no room for 1 more"):
        await toolbox.fork(origin, ["four"], run="r")
    await toolbox.release(twins[0])
    await toolbox.release((await toolbox.fork(origin, ["four"], run="r"))[0])
    assert toolbox.stats().leased == 2


async def test_the_quota_of_a_run_holds_for_forks(make: Make) -> None:
    toolbox = make()
    toolbox.set_run("r", max_concurrent=2)
    origin = await toolbox.lease(A, lease="one", run="r")
    with pytest.raises(FarmFull, match="run r: it may have 1 more sandboxes, and 2 are asked for"):
        await toolbox.fork(origin, ["two", "three"], run="r")
    await toolbox.fork(origin, ["two"], run="r")
    assert toolbox.stats().leased == 2


async def test_warm_sandboxes_make_way_for_forks(make: Make, backend: SimulatedBackend) -> None:
    toolbox = make(warm=2)
    toolbox.prewarm(B, 2)
    origin = await toolbox.lease(A, lease="one")
    async with asyncio.timeout(10):
        while toolbox.stats().warm < 2:  # noqa: ASYNC110 - the toolbox has no event to wait for, on purpose
            await asyncio.sleep(0.005)
    await toolbox.fork(origin, ["two", "three"])
    assert (toolbox.stats().leased, toolbox.stats().warm) == (3, 0)
    assert backend.most == 3


async def test_who_waits_comes_before_a_fork(make: Make) -> None:
    toolbox = make(capacity=1)
    origin = await toolbox.lease(A, lease="one")
    waits = asyncio.create_task(toolbox.lease(A, lease="two"))
    await asyncio.sleep(0)
    with pytest.raises(FarmFull):
        await toolbox.fork(origin, ["three"])
    await toolbox.release(origin)
    assert (await waits).spec == A


async def test_a_fork_that_fails_gives_its_places_back(make: Make, backend: SimulatedBackend) -> None:
    toolbox = make(capacity=2)
    toolbox.set_run("r", max_concurrent=2)
    origin = await toolbox.lease(A, lease="one", run="r")
    backend.failures = [SandboxStartError("no")]
    with pytest.raises(SandboxStartError):
        await toolbox.fork(origin, ["two"], run="r")
    assert len(await toolbox.fork(origin, ["two"], run="r")) == 1
    backend.lose(origin.id)
    await toolbox.release(origin)
    with pytest.raises(SandboxLost):
        await toolbox.fork(origin, ["three"], run="r")
