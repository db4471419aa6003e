"""What is asked of an engine through the `docker` package."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import docker
import pytest

from envfarm.toolbox.sandboxes import docker_client
from envfarm.toolbox.sandboxes.base import Limits, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend

NAME = "envfarm-public-test"


@pytest.fixture
def name(engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The public network's name, here one that is this test's, and part of another network's."""
    monkeypatch.setattr(docker_client, "NETWORK", NAME)
    engine.networks.create(f"{NAME}-longer")
    yield NAME
    for network in engine.networks.list(names=[NAME]):
        network.remove()


def _ids(engine: docker.DockerClient, name: str) -> list[str]:
    return [one.id for one in engine.networks.list(names=[name]) if one.name == name]


async def test_farms_that_make_the_public_network_at_once_come_to_use_one(
    engine: docker.DockerClient, name: str, docker_busybox: str
) -> None:
    farms = [DockerBackend() for _ in range(6)]
    spec = SandboxSpec(image=docker_busybox, network="public", limits=Limits(cpus=0.5, memory_mb=64, pids=32))
    started = await asyncio.gather(*(farm.start(spec, owner="test-twins", lease="1") for farm in farms))
    places = [engine.containers.get(one.id).attrs["NetworkSettings"]["Networks"] for one in started]
    assert [place[name]["NetworkID"] for place in places] == _ids(engine, name) * len(farms)
    await asyncio.gather(*(one.close() for one in started))
    await asyncio.gather(*(farm.close() for farm in farms))


async def test_of_two_public_networks_the_one_in_use_is_kept(
    engine: docker.DockerClient, name: str, docker_busybox: str
) -> None:
    def made() -> list[str]:
        """Several of one name, as farms leave that are killed at the wrong moment."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: engine.networks.create(name, check_duplicate=False), range(8)))
        return _ids(engine, name)

    try:
        several = made()
    except docker.errors.APIError:
        pytest.skip("this engine makes no two networks of one name")
    used = several[len(several) // 2]
    container = engine.containers.run(docker_busybox, "sleep 100", network=f"{name}-longer", detach=True)
    engine.api.connect_container_to_network(container.id, used)
    backend = DockerBackend()
    try:
        await backend.api.network()
        assert _ids(engine, name) == [used]
    finally:
        container.remove(force=True)
        await backend.close()
