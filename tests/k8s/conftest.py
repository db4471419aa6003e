"""What the tests of the Kubernetes back end share: a real cluster, a namespace of their own, and back ends in it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import yaml

from envfarm.k8s import labels
from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.client import ApiRefused, ClusterApi
from envfarm.k8s.config import KubernetesConfig
from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.sandboxes.base import Limits, SandboxSpec

from ..conftest import Cluster
from .pods import Pods
from .proxy import Proxy

NAMESPACE = f"envfarm-tests-{uuid.uuid4().hex[:8]}"
Open = Callable[..., KubernetesBackend]


def kubeconfig(cluster: Cluster, path: Path, *, server: str | None = None, token: str | None = None) -> Path:
    """Write another kubeconfig for a cluster: at another address, with another account."""
    named = yaml.safe_load(cluster.kubeconfig.read_text())
    for one in named["clusters"]:
        if server is not None:
            one["cluster"] |= {"server": server, "tls-server-name": "kubernetes"}
    for one in named["users"]:
        if token is not None:
            one["user"] = {"token": token}
    path.write_text(yaml.safe_dump(named))
    return path


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pods(cluster: Cluster, docker_base: str) -> AsyncIterator[Pods]:
    """Makes pods."""
    made = Pods(str(cluster.kubeconfig), cluster.push(docker_base))
    await made.open()
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def proxy(pods: Pods) -> AsyncIterator[Proxy]:
    """A way to the API server."""
    parts = urlsplit(pods.api.configuration.host)
    async with Proxy(parts.hostname or "", parts.port or 443) as opened:
        yield opened


@pytest.fixture(scope="session")
def busybox(cluster: Cluster, docker_busybox: str) -> str:
    """The small image, where the cluster's nodes find it."""
    return cluster.push(docker_busybox)


@pytest.fixture(scope="session")
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of this run's own, gone after it with all that is in it."""

    async def request(verb: str, path: str, body: object = None) -> None:
        api = ClusterApi(KubernetesConfig(kubeconfig=cluster.kubeconfig))
        try:
            await api.request(verb, path, body=body)
        finally:
            await api.close()

    about = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    asyncio.run(request("POST", "/api/v1/namespaces", about))
    yield NAMESPACE
    asyncio.run(request("DELETE", f"/api/v1/namespaces/{NAMESPACE}"))


@pytest.fixture(scope="session")
def egress(cluster: Cluster, image: Callable[[str], str]) -> EgressConfig:
    """What proxies are told, with their image where the cluster's nodes find it."""
    return EgressConfig(image=cluster.pin(image("egress")))


@pytest.fixture
def config(cluster: Cluster, namespace: str, busybox: str) -> KubernetesConfig:
    """The settings of a farm of the test's own; its node sets so little aside that many pods find room."""
    return KubernetesConfig(
        kubeconfig=cluster.kubeconfig,
        namespace=namespace,
        farm=f"farm-{uuid.uuid4().hex[:8]}",
        cpu_requests=0.01,
        memory_requests=0.1,
        prove=False,  # what a preflight says has tests of its own
        cut_image=busybox,
    )


@pytest_asyncio.fixture
async def open_backend(config: KubernetesConfig, request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Makes back ends; keywords change their settings. At the end nothing of the farm is left."""
    made: list[KubernetesBackend] = []
    egress = request.getfixturevalue("egress") if "egress" in request.fixturenames else None

    def make(**changes: object) -> KubernetesBackend:
        told = changes.pop("egress", egress)
        made.append(KubernetesBackend(config.model_copy(update=changes), egress=told))  # type: ignore[arg-type]
        return made[-1]

    yield make
    last = KubernetesBackend(config)
    await last.open()
    names = [pod.name for pod in last.pods]
    for pod in last.pods:
        if labels.OWNER in pod.labels:  # a proxy goes with its sandbox
            await last.remove(pod)
    for one in [*made, last]:
        for name in names:  # so that sandboxes which a test left let go of their streams
            if one.opened:
                await one.pods.until(name, lambda pod: True if pod is None else None, 30)
        await one.close()


@pytest.fixture
def backend(open_backend: Open) -> KubernetesBackend:
    """One back end."""
    return open_backend()


@pytest.fixture
def spec(busybox: str) -> SandboxSpec:
    """A small sandbox."""
    limits = Limits(cpus=0.5, memory_mb=128)
    return SandboxSpec(image=busybox, limits=limits, network="public")


async def gone(api: ClusterApi, path: str) -> bool:
    """Whether there is nothing at a path."""
    try:
        await api.request("GET", path)
    except ApiRefused as error:
        return error.status_code == 404
    return False
