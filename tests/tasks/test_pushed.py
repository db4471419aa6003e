"""The table of pushed images: a task has the images of its folder as it is, and of no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envfarm.tasks.folder import load
from envfarm.tasks.pushed import PushedImages, PushedTable, PushedTask
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import ImageError

MakeFolder = Callable[..., Path]
AGENT, VERIFIER = "registry.example/agent@sha256:a", "registry.example/verifier@sha256:b"


@pytest.fixture
def task(make_folder: MakeFolder) -> Task:
    return load(make_folder(), id="set/one")


@pytest.fixture
def table(task: Task) -> PushedTable:
    entry = PushedTask(task=task.id, agent=AGENT, verifier=VERIFIER)
    return PushedTable().with_task(task.digest, entry, {AGENT: {"WorkingDir": "/app"}, VERIFIER: {}})


async def test_a_task_has_its_own_images(task: Task, table: PushedTable) -> None:
    images = PushedImages(table)
    assert await images.agent(task) == AGENT
    assert await images.verifier(task) == VERIFIER


async def test_a_task_without_images_names_the_command(task: Task) -> None:
    with pytest.raises(
        ImageError, match=r"^task set/one: no images were pushed for it: run `envfarm tasks push REGISTRY"
    ):
        await PushedImages(PushedTable()).agent(task)


async def test_a_folder_that_changed_has_none(task: Task, table: PushedTable) -> None:
    (task.path / "tests/test.sh").write_text("exit 1\n")
    changed = load(task.path, id=task.id)
    with pytest.raises(ImageError, match="the folder changed since its images were pushed: run `envfarm tasks push"):
        await PushedImages(table).verifier(changed)


def test_a_new_version_takes_the_place_of_the_old_one(task: Task, table: PushedTable) -> None:
    entry = PushedTask(task=task.id, agent=AGENT, verifier=AGENT)
    newer = table.with_task("sha256:new", entry, {AGENT: {"User": "1000"}})
    assert set(newer.tasks) == {"sha256:new"}
    assert newer.images == {AGENT: {"User": "1000"}}


def test_a_table_is_read_as_it_was_written(table: PushedTable, tmp_path: Path) -> None:
    file = tmp_path / "new folder/images.json"
    table.write(file)
    assert PushedTable.read(file) == table
    assert [path.name for path in file.parent.iterdir()] == ["images.json"]


@pytest.mark.parametrize("text", [None, "{", '{"tasks": {"a": {"task": "a"}}}'])
def test_a_file_that_is_no_table_names_the_command(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "images.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ImageError, match=r"^images: .*images\.json: .*; write it with `envfarm tasks push REGISTRY`$"):
        PushedTable.read(file)
