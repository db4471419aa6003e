"""What plays the tasks that are shipped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from envfarm.orchestrator.play import Player
from envfarm.orchestrator.settings import BASE_IMAGES
from envfarm.tasks.images import TaskImages
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.sandboxes.docker import DockerBackend
from envfarm.toolbox.sandboxes.docker_images import DockerImages


@pytest.fixture
async def player(tmp_path: Path, docker_base: str) -> AsyncIterator[Player]:
    owner = f"tests-{uuid4().hex[:12]}"
    backend = DockerBackend()
    builder = DockerImages(remap=BASE_IMAGES, logs=tmp_path / "builds")
    yield Player(backend, TaskImages(builder), Artifacts(tmp_path / "artifacts"), owner=owner)
    await builder.close()
    assert await backend.find(owner) == []
    await backend.close()
