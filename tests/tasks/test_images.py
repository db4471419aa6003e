"""Which image a task's sandboxes start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import docker
import pytest

from envfarm.tasks.folder import load
from envfarm.tasks.images import TaskImages, image_name
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import ImageError
from envfarm.toolbox.sandboxes.docker_images import DockerImages

MakeFolder = Callable[..., Path]


@pytest.fixture
async def builder(tmp_path: Path, docker_busybox: str) -> DockerImages:
    return DockerImages(remap={"debian:*": docker_busybox}, logs=tmp_path / "builds")


async def test_the_agents_image_is_built_from_its_folder(
    make_folder: MakeFolder, builder: DockerImages, engine: docker.DockerClient
) -> None:
    task = load(make_folder(**{"environment/Dockerfile": "FROM debian:12\nENV IS=agent\n"}), id="Set/My Task")
    image = await TaskImages(builder).agent(task)
    assert image.startswith("envfarm/task-set-my-task:")
    assert "IS=agent" in engine.images.get(image).attrs["Config"]["Env"]
    assert await TaskImages(builder).verifier(task) == image


async def test_a_built_image_is_taken_as_it_is(
    make_folder: MakeFolder, builder: DockerImages, docker_busybox: str
) -> None:
    toml = f"[environment]\ndocker_image = '{docker_busybox}'\n[verifier.environment]\ndocker_image = 'debian:12'\n"
    task = load(make_folder(**{"task.toml": toml}))
    assert await TaskImages(builder).agent(task) == docker_busybox
    assert await TaskImages(builder).verifier(task) == docker_busybox  # the stand-in of debian:12


async def test_the_verifiers_dockerfile_starts_from_the_agents_image(
    make_folder: MakeFolder, builder: DockerImages, engine: docker.DockerClient
) -> None:
    files = {
        "environment/Dockerfile": "FROM debian:12\nENV IS=agent\n",
        "tests/Dockerfile": "ARG BASE\nFROM $BASE\nCOPY test.sh /verifier/\nENV ALSO=verifier\n",
    }
    task = load(make_folder(**files))
    image = await TaskImages(builder).verifier(task)
    assert "-verifier:" in image
    assert {"IS=agent", "ALSO=verifier"} <= {*engine.images.get(image).attrs["Config"]["Env"]}


async def test_a_gate_refuses_an_image_until_it_is_right(
    make_folder: MakeFolder, builder: DockerImages, engine: docker.DockerClient
) -> None:
    task = load(make_folder(**{"environment/Dockerfile": f"FROM debian:12\nENV ONLY={uuid4()}\n"}))
    seen: list[str] = []

    async def refuse(task: Task, image: str) -> None:
        engine.images.get(image)  # it is there for the gate
        seen.append(image)
        raise ImageError("the image gives the fix away")

    async def allow(task: Task, image: str) -> None:
        seen.append(image)

    for _ in range(2):
        with pytest.raises(ImageError, match="gives the fix away"):
            await TaskImages(builder, gate=refuse).agent(task)
    assert len(seen) == 2  # a refused image has no name, so it is built and looked at again
    image = await TaskImages(builder, gate=allow).agent(task)
    assert len(seen) == 3
    assert await TaskImages(builder, gate=refuse).agent(task) == image  # let pass once, let pass for good


@pytest.mark.parametrize(
    ("id", "name"), [("terminal/a_b-1.2", "terminal-a-b-1-2"), ("Ünï/code", "n-code"), ("///", "task")]
)
def test_ids_become_image_names(id: str, name: str) -> None:
    assert image_name(id) == name
