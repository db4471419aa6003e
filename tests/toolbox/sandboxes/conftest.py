"""The conformance suite's variants: all must behave the same, except where `Variant` says why one cannot."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import docker
import pytest
import pytest_asyncio

from envfarm.toolbox.sandboxes.base import Backend, Limits, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend
from envfarm.toolbox.sandboxes.local import LocalBackend

OWNER = f"tests-{uuid.uuid4().hex[:12]}"
Start = Callable[..., Awaitable[Sandbox]]


@dataclass(frozen=True)
class Variant:
    """One way to run sandboxes, and what cannot be asked of it."""

    name: str
    backend: Backend
    spec: SandboxSpec
    bash: bool = True  # other shells keep no functions, have no traps on DEBUG and no $'…'
    busybox: bool = False  # every tool is one program, which knows fewer options
    isolated: bool = True  # local shares this machine's files, users and limits, and ends with the farm


def variants() -> list[str]:
    """gVisor only where the engine offers it."""
    names = ["docker", "docker-busybox", "docker-dash", "local"]
    client = docker.from_env()
    try:
        if "runsc" in (client.info().get("Runtimes") or {}):
            names.insert(3, "docker-gvisor")
    finally:
        client.close()
    return names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for a variant on all of them."""
    if "variant" in metafunc.fixturenames:
        metafunc.parametrize("variant", variants(), indirect=True, scope="module")


@pytest.fixture(scope="module")
def variant(
    request: pytest.FixtureRequest,
    docker_base: str,
    docker_busybox: str,
    docker_dash: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Variant:
    """The way to run sandboxes that this round of the suite is about."""
    limits = Limits(cpus=2, memory_mb=512, pids=256)
    base = SandboxSpec(image=docker_base, limits=limits)
    match request.param:
        case "docker":
            return Variant("docker", DockerBackend(), base)
        case "docker-busybox":
            spec = base.model_copy(update={"image": docker_busybox})
            return Variant("docker-busybox", DockerBackend(), spec, bash=False, busybox=True)
        case "docker-dash":
            spec = base.model_copy(update={"image": docker_dash})
            return Variant("docker-dash", DockerBackend(), spec, bash=False)
        case "docker-gvisor":
            return Variant("docker-gvisor", DockerBackend(), base.model_copy(update={"isolation": "gvisor"}))
        case _:
            root = tmp_path_factory.mktemp("local")
            return Variant("local", LocalBackend(root), base, isolated=False)


@pytest.fixture
def isolated(variant: Variant) -> Variant:
    """The variant, for a test that makes no sense on this machine's own files, users and limits."""
    if not variant.isolated:
        pytest.skip("local sandboxes share this machine's files, users and limits, and end with the farm")
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
