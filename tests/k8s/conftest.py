"""What the tests of the Kubernetes back end share: a real cluster, a namespace of their own, and back ends in it."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import yaml

from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.client import ApiRefused, ClusterApi
from envfarm.k8s.config import KubernetesConfig
from envfarm.toolbox.sandboxes.base import Limits, SandboxSpec

NAMESPACE = f"envfarm-tests-{uuid.uuid4().hex[:8]}"
Open = Callable[..., KubernetesBackend]


@dataclass(frozen=True)
class Cluster:
    """A cluster that is really there."""

    kubeconfig: str
    registry: str

    def config(self, path: Path, *, server: str | None = None, token: str | None = None) -> Path:
        """Write another kubeconfig for it: at another address, with another account."""
        named = yaml.safe_load(Path(self.kubeconfig).read_text())
        for one in named["clusters"]:
            if server is not None:
                host = urlsplit(one["cluster"]["server"]).hostname
                one["cluster"] |= {"server": server, "tls-server-name": host}
        for one in named["users"]:
            if token is not None:
                one["user"] = {"token": token}
        path.write_text(yaml.safe_dump(named))
        return path

    @property
    def address(self) -> tuple[str, int]:
        """Where its API server listens."""
        named = yaml.safe_load(Path(self.kubeconfig).read_text())
        parts = urlsplit(named["clusters"][0]["cluster"]["server"])
        return parts.hostname or "127.0.0.1", parts.port or 443


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster that KUBECONFIG names."""
    named = os.environ.get("KUBECONFIG")
    if not named:
        pytest.skip("KUBECONFIG names no cluster")
    return Cluster(named, "localhost:5000")


@pytest.fixture(scope="session")
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of this run's own, gone after it with all that is in it."""

    async def request(verb: str, path: str, body: object = None) -> None:
        api = ClusterApi(KubernetesConfig())
        try:
            await api.request(verb, path, body=body)
        finally:
            await api.close()

    about = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    asyncio.run(request("POST", "/api/v1/namespaces", about))
    yield NAMESPACE
    asyncio.run(request("DELETE", f"/api/v1/namespaces/{NAMESPACE}"))


@pytest.fixture
def config(cluster: Cluster, namespace: str) -> KubernetesConfig:
    """The settings of a farm of the test's own; its node sets so little aside that many pods find room."""
    return KubernetesConfig(
        namespace=namespace,
        farm=f"farm-{uuid.uuid4().hex[:8]}",
        cpu_requests=0.01,
        memory_requests=0.1,
        cut_image=f"{cluster.registry}/envfarm/busybox:1",
    )


@pytest_asyncio.fixture
async def open_backend(config: KubernetesConfig) -> AsyncIterator[Open]:
    """Makes back ends; keywords change their settings. At the end nothing of the farm is left."""
    made: list[KubernetesBackend] = []

    def make(**changes: object) -> KubernetesBackend:
        made.append(KubernetesBackend(config.model_copy(update=changes)))
        return made[-1]

    yield make
    last = KubernetesBackend(config)
    await last.open()
    for pod in last.pods:
        await last.remove(pod)
    for one in [*made, last]:
        await one.close()


@pytest.fixture
def backend(open_backend: Open) -> KubernetesBackend:
    """One back end."""
    return open_backend()


@pytest.fixture
def spec(cluster: Cluster) -> SandboxSpec:
    """A small sandbox."""
    limits = Limits(cpus=0.5, memory_mb=128)
    return SandboxSpec(image=f"{cluster.registry}/envfarm/busybox:1", limits=limits, network="public")


async def gone(api: ClusterApi, path: str) -> bool:
    """Whether there is nothing at a path."""
    try:
        await api.request("GET", path)
    except ApiRefused as error:
        return error.status_code == 404
    return False
