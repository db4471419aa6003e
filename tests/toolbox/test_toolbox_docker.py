"""The allocator over real containers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

import docker
import pytest

from envfarm.toolbox.errors import ImageError
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend
from envfarm.toolbox.toolbox import Toolbox

OWNER = f"test-toolbox-{os.getpid()}"


@pytest.fixture
async def toolbox() -> AsyncIterator[Toolbox]:
    backend = DockerBackend()
    toolbox = Toolbox(backend, owner=OWNER, capacity=3, queue=10, tick=0.05, probe_seconds=1000)
    yield toolbox
    await toolbox.close()
    left = await backend.reap(OWNER, keep=())
    await backend.close()
    assert left == []


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the toolbox has no event to wait for, on purpose
            await asyncio.sleep(0.02)


async def test_warm_containers_serve_and_are_gone_after_release(toolbox: Toolbox, docker_busybox: str) -> None:
    spec = SandboxSpec(image=docker_busybox, session="agent")
    toolbox.prewarm(spec, 2)
    await until(lambda: toolbox.stats().warm == 2)
    sandbox = await toolbox.lease(spec, lease="one")
    assert toolbox.stats().warm_hits == 1
    assert (await sandbox.run("echo hello", session="agent")).stdout == b"hello\n"
    await toolbox.release(sandbox)
    await until(lambda: toolbox.stats().warm == 2)
    assert sandbox.id not in {info.id for info in await toolbox.backend.find(OWNER)}


async def test_a_killed_warm_container_is_never_handed_out(
    toolbox: Toolbox, docker_busybox: str, engine: docker.DockerClient
) -> None:
    spec = SandboxSpec(image=docker_busybox)
    toolbox.prewarm(spec, 2)
    await until(lambda: toolbox.stats().warm == 2)
    for info in await toolbox.backend.find(OWNER):
        await asyncio.to_thread(engine.containers.get(info.id).kill)
    sandbox = await toolbox.lease(spec, lease="one")
    assert (await sandbox.run("echo lives")).stdout == b"lives\n"
    await toolbox.release(sandbox)


async def test_no_more_containers_than_the_capacity(toolbox: Toolbox, docker_busybox: str) -> None:
    specs = [SandboxSpec(image=docker_busybox, workdir=workdir) for workdir in ("/", "/tmp")]
    most = 0

    async def episode(n: int) -> None:
        nonlocal most
        sandbox = await toolbox.lease(specs[n % 2], lease=str(n))
        most = max(most, len(await toolbox.backend.find(OWNER)))
        await toolbox.release(sandbox)

    await asyncio.gather(*(episode(n) for n in range(8)))
    assert 1 <= most <= 3


async def test_an_image_that_is_not_there(toolbox: Toolbox) -> None:
    with pytest.raises(ImageError, match="envfarm/none:1"):
        await toolbox.lease(SandboxSpec(image="envfarm/none:1"), lease="one")
    assert toolbox.stats().leased == 0
