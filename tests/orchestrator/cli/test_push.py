"""`envfarm tasks push`, as a user runs it, into a real registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FILES = {
    "task.toml": "",
    "instruction.md": "Do it.\n",
    "environment/Dockerfile": "FROM busybox:1\nWORKDIR /srv\nUSER 1000\n",
    "tests/test.sh": "exit 0\n",
}


def write(folder: Path, **files: str) -> None:
    for name, text in {**FILES, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def tasks(cli: Any, docker_busybox: str) -> Path:
    cli.env |= {"ENVFARM_BACKEND": "docker", "ENVFARM_BASE_IMAGES": f"busybox:*={docker_busybox}"}
    cli.env |= {"ENVFARM_TASKS": "tasks", "ENVFARM_SAMPLES": "false"}
    folder: Path = cli.folder / "tasks"
    write(folder / "one")
    write(folder / "two", **{"tests/Dockerfile": "ARG BASE\nFROM $BASE\nENV IS=verifier\n"})
    return folder


def table(cli: Any) -> dict[str, Any]:
    return dict(json.loads((cli.folder / "images.json").read_text()))


def test_tasks_are_built_pushed_and_written_down(cli: Any, tasks: Path, cluster: Any) -> None:
    said = cli("tasks", "push", cluster.registry).stderr
    assert f"2 of 2 tasks are in {cluster.registry}; their table is images.json" in said
    found = {entry["task"]: entry for entry in table(cli)["tasks"].values()}
    assert found["one"]["agent"] == found["one"]["verifier"]
    assert found["two"]["agent"] != found["two"]["verifier"]
    listed = {task["task"]: task["digest"] for task in json.loads(cli("tasks", "list", "--json").stdout)}
    assert {entry["task"]: digest for digest, entry in table(cli)["tasks"].items()} == listed
    for reference, config in table(cli)["images"].items():
        assert reference.startswith(f"{cluster.registry}/envfarm/task-")
        assert "@sha256:" in reference
        assert (config["WorkingDir"], config["User"]) == ("/srv", "1000")


def test_one_task_is_added_to_the_table_and_a_changed_one_replaces_itself(cli: Any, tasks: Path, cluster: Any) -> None:
    cli("tasks", "push", cluster.registry, "one")
    first = table(cli)["tasks"]
    cli("tasks", "push", cluster.registry, "two")
    assert len(table(cli)["tasks"]) == 2
    write(tasks / "one", **{"instruction.md": "Do it otherwise.\n"})
    cli("tasks", "push", cluster.registry, "tasks/one")
    last = table(cli)["tasks"]
    assert sorted(entry["task"] for entry in last.values()) == ["one", "two"]
    assert not set(first) & set(last)


def test_what_cannot_be_built_is_named_and_the_rest_is_pushed(cli: Any, tasks: Path, cluster: Any) -> None:
    write(tasks / "two", **{"environment/Dockerfile": "FROM busybox:1\nRUN exit 7\n"})
    done = cli("tasks", "push", cluster.registry, code=1)
    assert "two: " in done.stderr
    assert "the build failed" in done.stderr
    assert [entry["task"] for entry in table(cli)["tasks"].values()] == ["one"]


def test_a_task_that_is_not_there_is_the_callers_mistake(cli: Any, tasks: Path) -> None:
    assert "no task 'three'" in cli("tasks", "push", "localhost:1", "three", code=2).stderr
