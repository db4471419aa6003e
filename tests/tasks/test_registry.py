"""Finding tasks below roots, and what a broken one does to the others: nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envfarm.tasks.registry import Registry, discover, samples
from envfarm.toolbox.errors import NotFound, TaskError

MakeFolder = Callable[..., Path]


def test_ids_are_paths_below_the_root(make_folder: MakeFolder, tmp_path: Path) -> None:
    for name in ("set/b", "set/a", "set/deep/c", "set/.hidden/d"):
        make_folder(name)
    registry = Registry([tmp_path / "set"])
    assert registry.ids() == ["a", "b", "deep/c"]
    assert [task.id for task in registry] == ["a", "b", "deep/c"]
    assert registry.get("deep/c").path == tmp_path / "set/deep/c"
    assert "a" in registry
    assert "d" not in registry
    assert len(registry) == 3


def test_a_root_may_be_a_task_and_hold_no_others(make_folder: MakeFolder) -> None:
    folder = make_folder("one", **{"tests/fixture/task.toml": "not a task"})
    assert discover(folder) == {"one": folder}


def test_an_unknown_id_names_the_nearest(make_folder: MakeFolder, tmp_path: Path) -> None:
    make_folder("set/fix-the-build")
    registry = Registry([tmp_path / "set"])
    with pytest.raises(NotFound, match="did you mean 'fix-the-build'"):
        registry.get("fix-the-biuld")
    with pytest.raises(NotFound, match="see `envfarm tasks list`"):
        registry.get("xyz")


def test_a_broken_task_is_an_error_of_its_own(make_folder: MakeFolder, tmp_path: Path) -> None:
    make_folder("set/fine")
    make_folder("set/broken", **{"task.toml": "x ="})
    make_folder("set/without", **{"task.toml": None})
    registry = Registry([tmp_path / "set"])
    assert [task.id for task in registry.all()] == ["fine"]
    errors = registry.errors()
    assert sorted(errors) == ["broken", "without"]
    assert "not valid TOML" in str(errors["broken"])
    with pytest.raises(TaskError, match="not valid TOML"):
        registry.get("broken")


def test_two_folders_with_one_id_are_refused(make_folder: MakeFolder, tmp_path: Path) -> None:
    make_folder("one/x")
    make_folder("two/x")
    with pytest.raises(TaskError, match="called 'x' too; rename"):
        Registry([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(TaskError, match="nowhere: no such folder"):
        Registry([tmp_path / "nowhere"])


def test_tasks_that_ask_for_nothing_get_the_farms_isolation_and_network(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    make_folder("set/silent")
    asks = '[envfarm]\nisolation = "runc"\n[environment]\nnetwork_mode = "public"'
    make_folder("set/asks", **{"task.toml": asks})
    make_folder("set/old", **{"task.toml": "[environment]\nallow_internet = true"})
    registry = Registry([tmp_path / "set"], isolation="gvisor", network="none")
    found = {task.id: (task.config.envfarm.isolation, task.config.environment.network_mode) for task in registry}
    assert found == {"silent": ("gvisor", "no-network"), "asks": ("runc", "public"), "old": ("gvisor", None)}


def test_the_shipped_tasks_are_all_readable() -> None:
    registry = Registry([samples()])
    assert registry.errors() == {}
    assert len([task for task in registry if task.kind == "terminal"]) >= 10
