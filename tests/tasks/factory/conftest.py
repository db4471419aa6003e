"""What the factory's tests share: a workshop on the real engine, and little git repositories."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from envfarm.tasks.factory.make import Workshop
from envfarm.toolbox.sandboxes.base import Backend, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend
from envfarm.toolbox.sandboxes.docker_images import DockerImages

CA_BUNDLE = next(Path("/etc/ssl/certs").glob("ca-certificates.crt"), None)


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    owner = DockerBackend()
    yield owner
    await owner.close()


@pytest.fixture
async def builder(image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DockerImages]:
    remap = {"python:*": image("base"), "golang:*": image("go"), "node:*": image("node"), "rust:*": image("rust")}
    logs = tmp_path_factory.mktemp("builds")
    builder = DockerImages(remap=remap, ca_bundle=CA_BUNDLE, logs=logs)
    yield builder
    await builder.close()


@pytest.fixture
async def workshop(backend: Backend, builder: DockerImages) -> AsyncIterator[Workshop]:
    owner = f"test-factory-{uuid.uuid4().hex[:8]}"
    yield Workshop(backend, builder, owner=owner)
    assert not await backend.reap(owner, keep=()), "the factory left sandboxes behind"


@pytest.fixture
async def sandbox(backend: Backend, docker_base: str) -> AsyncIterator[Sandbox]:
    """A fresh sandbox of the Debian image, with no network."""
    started = await backend.start(
        SandboxSpec(image=docker_base, entrypoint=False), owner=f"test-factory-{uuid.uuid4().hex[:8]}", lease="test"
    )
    yield started
    await started.close()


class Repository:
    """A git repository that a test writes commit by commit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *args: str) -> str:
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        done = subprocess.run(["git", *identity, *args], cwd=self.path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, message: str, files: Mapping[str, str]) -> str:
        """Write files and commit them; returns the commit's id."""
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "adder")


@pytest.fixture
def cli(image: Callable[[str], str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `envfarm` in an empty folder, on the engine's own images."""
    for name in ("base", "go", "node", "rust"):
        image(name)
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "envfarm.orchestrator.cli", *args]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
        done.stdout = done.stdout.replace('"path": "', f'"path": "{folder}/')
        return done

    return run
