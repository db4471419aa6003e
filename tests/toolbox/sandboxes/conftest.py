"""The conformance suite's variants: all must behave the same, except where `Variant` says why one cannot."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import docker
import pytest
import pytest_asyncio

from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.config import KubernetesConfig
from envfarm.toolbox.sandboxes.base import Backend, Limits, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend
from envfarm.toolbox.sandboxes.local import LocalBackend

from ...conftest import Cluster

OWNER = f"tests-{uuid.uuid4().hex[:12]}"
Start = Callable[..., Awaitable[Sandbox]]


@dataclass(frozen=True)
class Variant:
    """One way to run sandboxes, and what cannot be asked of it."""

    name: str
    backend: Backend
    spec: SandboxSpec
    another: Callable[[], Backend]  # a back end like this one, as a farm that starts again has
    registry: str = ""  # what the names of images begin with
    bash: bool = True  # other shells keep no functions, have no traps on DEBUG and no $'…'
    busybox: bool = False  # every tool is one program, which knows fewer options
    isolated: bool = True  # local shares this machine's files, users and limits, and ends with the farm
    keeps_cr: bool = True  # containerd's log, which a farm that starts again reads, drops a CR before a newline
    links: bytes = b""  # interfaces of a sandbox without network besides loopback: a pod's is there, and down

    @property
    def docker(self) -> bool:
        """Whether an engine runs the sandboxes, so that a test may look at them there."""
        return isinstance(self.backend, DockerBackend)


def variants() -> list[str]:
    """gVisor only where the engine offers it."""
    names = ["docker", "docker-busybox", "docker-dash", "local", "kubernetes", "kubernetes-gvisor"]
    client = docker.from_env()
    try:
        if "runsc" in (client.info().get("Runtimes") or {}):
            names.insert(3, "docker-gvisor")
    finally:
        client.close()
    return names


SHELLS = ("test_sessions", "test_exits", "test_foreign_bytes", "test_timeouts")
"""What dash does otherwise than busybox; the rest is its own part of `make test-soak`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for a variant on all of them."""
    if "variant" in metafunc.fixturenames:
        about_shells = metafunc.module.__name__.rpartition(".")[2] in SHELLS
        names = [
            pytest.param(name, marks=pytest.mark.soak) if name == "docker-dash" and not about_shells else name
            for name in variants()
        ]
        metafunc.parametrize("variant", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def variant(
    request: pytest.FixtureRequest, docker_base: str, docker_busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Variant:
    """The way to run sandboxes that this round of the suite is about."""
    limits = Limits(cpus=2, memory_mb=512, pids=256)
    base = SandboxSpec(image=docker_base, limits=limits)
    match request.param:
        case "docker":
            return Variant("docker", DockerBackend(), base, DockerBackend)
        case "docker-busybox":
            spec = base.model_copy(update={"image": docker_busybox})
            return Variant("docker-busybox", DockerBackend(), spec, DockerBackend, bash=False, busybox=True)
        case "docker-dash":
            spec = base.model_copy(update={"image": request.getfixturevalue("docker_dash")})
            return Variant("docker-dash", DockerBackend(), spec, DockerBackend, bash=False)
        case "docker-gvisor":
            spec = base.model_copy(update={"isolation": "gvisor"})
            return Variant("docker-gvisor", DockerBackend(), spec, DockerBackend)
        case "kubernetes" | "kubernetes-gvisor":
            return kubernetes(request.param, base, docker_busybox, request.getfixturevalue("cluster"))
        case _:
            root = tmp_path_factory.mktemp("local")
            return Variant("local", LocalBackend(root), base, lambda: LocalBackend(root), isolated=False)


def kubernetes(name: str, base: SandboxSpec, busybox: str, cluster: Cluster) -> Variant:
    """Pods on the test's cluster. The limit of processes is the kubelet's there, one for all pods."""
    gvisor = name.endswith("gvisor")
    if gvisor and not cluster.gvisor:
        pytest.skip("the cluster offers no gVisor")
    # A node of two cores that is asked to set so little aside holds as many as Docker would.
    config = KubernetesConfig(
        kubeconfig=cluster.kubeconfig,
        namespace="default",
        farm=OWNER,
        cpu_requests=0.01,
        memory_requests=0.1,
        prove=False,  # what a preflight says has tests of its own
        cut_image=cluster.push(busybox),
    )
    limits = base.limits.model_copy(update={"disk_mb": 2000})
    spec = base.model_copy(
        update={"image": cluster.push(base.image), "isolation": "gvisor" if gvisor else "runc", "limits": limits}
    )
    return Variant(
        name,
        KubernetesBackend(config),
        spec,
        lambda: KubernetesBackend(config),
        registry=f"{cluster.registry}/",
        keeps_cr=False,
        links=b"" if gvisor else b"eth0\n",
    )


@pytest.fixture
def isolated(variant: Variant) -> Variant:
    """The variant, for a test that makes no sense on this machine's own files, users and limits."""
    if not variant.isolated:
        pytest.skip("local sandboxes share this machine's files, users and limits, and end with the farm")
    return variant


@pytest.fixture
def engines(variant: Variant) -> Variant:
    """The variant, for a test that looks at the container in the engine; tests/k8s does so in a cluster."""
    if not variant.docker:
        pytest.skip("no Docker engine runs these sandboxes")
    return variant


@pytest_asyncio.fixture(loop_scope="module")
async def contained(variant: Variant) -> Variant:
    """The variant, for a test whose command signals every process that it can: never outside a PID namespace."""
    if isinstance(variant.backend, LocalBackend) and not await variant.backend.wrapper():
        pytest.skip("the kernel refuses a PID namespace, and the command would hit this machine")
    return variant


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(variant: Variant) -> AsyncIterator[Sandbox]:
    """One sandbox for all tests of a module that do not destroy it."""
    started = await variant.backend.start(variant.spec, owner=OWNER, lease="shared")
    yield started
    await started.close()
    await variant.backend.close()


@pytest_asyncio.fixture(loop_scope="module")
async def start(variant: Variant) -> AsyncIterator[Start]:
    """Starts sandboxes of a test's own; keywords change the specification."""
    made: list[Sandbox] = []

    async def start(**changes: object) -> Sandbox:
        spec = variant.spec.model_copy(update=changes)
        made.append(await variant.backend.start(spec, owner=OWNER, lease="own"))
        return made[-1]

    yield start
    for one in made:
        await one.close()
    await variant.backend.close()


@pytest.fixture
def session() -> str:
    """The name of a session that no other test uses."""
    return uuid.uuid4().hex
