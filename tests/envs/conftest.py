"""Where tasks are played in these tests: on Docker, and all of it once more on pods of a real cluster."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.config import KubernetesConfig
from envfarm.toolbox.sandboxes.base import Backend
from envfarm.toolbox.sandboxes.docker import DockerBackend
from envfarm.toolbox.sandboxes.docker_push import push
from envfarm.toolbox.sandboxes.images import ImageBuilder

from ..conftest import Cluster

QUICK_ON_PODS = {
    "test_hostile_trees_are_taken_as_data",
    "test_the_tests_decide",
    "test_an_honest_agent_gets_its_reward_from_both",
    "test_work_that_goes_on_while_it_is_scored_earns_nothing",
}
"""One of each kind that runs on pods in `make test` too; `make test-soak` runs the others."""


class Place(Protocol):
    """A kind of back end, and images as its sandboxes find them."""

    def backend(self) -> Backend:
        """A new one, for the running loop."""

    def builder(self, builder: ImageBuilder) -> ImageBuilder:
        """The builder, for the images of its sandboxes."""

    def image(self, name: str) -> str:
        """The name of one of the engine's images there."""


class OnDocker:
    """The engine."""

    def backend(self) -> DockerBackend:
        return DockerBackend()

    def builder(self, builder: ImageBuilder) -> ImageBuilder:
        return builder

    def image(self, name: str) -> str:
        return name


@dataclass
class OnPods:
    """A namespace of a cluster."""

    cluster: Cluster
    config: KubernetesConfig

    def backend(self) -> KubernetesBackend:
        return KubernetesBackend(self.config)

    def builder(self, builder: ImageBuilder) -> ImageBuilder:
        return Pushed(builder, self.cluster.registry)

    def image(self, name: str) -> str:
        return self.cluster.push(name)


@dataclass
class Pushed:
    """A builder whose images travel through a registry, as those of `envfarm tasks push` do."""

    builder: ImageBuilder
    registry: str
    known: dict[str, str] = field(default_factory=dict)

    async def build(self, context: Path, *, args: Mapping[str, str] | None = None, **more: Any) -> str:
        """Build here, where an image is known by the engine's name for it, and push."""
        here = {there: name for name, there in self.known.items()}
        args = None if args is None else {key: here.get(value, value) for key, value in args.items()}
        return await self._pushed(await self.builder.build(context, args=args, **more))

    async def find(self, image: str) -> str:
        return await self._pushed(await self.builder.find(image))

    async def _pushed(self, image: str) -> str:
        if image not in self.known:
            self.known[image] = (await push(image, registry=f"{self.registry}/tests", url=None)).reference
        return self.known[image]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for a place in all of them."""
    if "place" in metafunc.fixturenames:
        marks = () if metafunc.function.__name__ in QUICK_ON_PODS else (pytest.mark.soak,)
        names = ["docker", pytest.param("pods", marks=marks)]
        metafunc.parametrize("place", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The one that this round is about."""
    if request.param == "docker":
        yield OnDocker()
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    namespace = f"envs-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    config = KubernetesConfig(
        kubeconfig=cluster.kubeconfig,
        namespace=namespace,
        cpu_requests=0.01,  # so that one node of two cores has room for them all
        memory_requests=0.1,
        cut_image=cluster.push(request.getfixturevalue("docker_busybox")),
    )
    yield OnPods(cluster, config)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
