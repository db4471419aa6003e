"""Which class stands behind which setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from envfarm.orchestrator.errors import SettingsError
from envfarm.orchestrator.settings import load
from envfarm.orchestrator.wire import farm_settings, open_backend, open_farm, open_images, open_registry
from envfarm.tasks.images import TaskImages
from envfarm.toolbox.errors import TaskError


@pytest.mark.parametrize("name", ["docker", "kubernetes", "local", "simulated"])
async def test_a_back_end_is_the_one_that_is_named(name: str, tmp_path: Path) -> None:
    settings = load({"backend": name, "data": tmp_path}).settings
    backend = open_backend(settings)
    assert backend.name == name
    async with open_images(settings) as images:
        assert isinstance(images, TaskImages) == (name == "docker")
    await backend.close()


def test_tasks_come_from_the_samples_and_from_the_folders_named(tmp_path: Path) -> None:
    for name, text in {
        "task.toml": "",
        "instruction.md": "Do.",
        "environment/Dockerfile": "FROM x",
        "tests/test.sh": "",
    }.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(text)
    both = open_registry(load({"tasks": str(tmp_path), "isolation": "gvisor"}).settings)
    alone = open_registry(load({"tasks": str(tmp_path), "samples": "false"}).settings)
    assert alone.ids() == ["mine"]
    assert set(both.ids()) > {"mine"}
    assert both.get("mine").config.envfarm.isolation == "gvisor"


async def test_settings_reach_the_farm(tmp_path: Path) -> None:
    flags = {"backend": "simulated", "data": tmp_path, "capacity": 3, "warm": 0, "max_turns": 5, "lease_seconds": 7}
    async with open_farm(load(flags).settings) as farm:
        assert farm.toolbox.stats().capacity == 3
        assert (farm.core.settings.max_turns, farm.core.settings.lease_seconds) == (5, 7)
        assert (await farm.ready()).ready
    async with open_farm(load(flags).settings) as farm:  # the folder is free again
        assert farm.counts() == {}


async def test_a_missing_folder_of_tasks_leaves_the_data_folder_free(tmp_path: Path) -> None:
    broken = load({"backend": "simulated", "data": tmp_path, "tasks": str(tmp_path / "gone")}).settings
    with pytest.raises(TaskError, match="no such folder"):
        async with open_farm(broken):
            pytest.fail("it must not open")
    async with open_farm(load({"backend": "simulated", "data": tmp_path}).settings):
        pass


def test_pods_may_not_go_before_another_server_takes_them_over() -> None:
    flags = {"backend": "kubernetes", "takeover": True, "takeover_seconds": 60, "kubernetes": {"orphan_seconds": 100}}
    with pytest.raises(
        SettingsError, match=r"kubernetes\.orphan_seconds is 100.*takeover_seconds is 60.*set it to 180"
    ):
        farm_settings(load(flags).settings)
    farm_settings(load(flags | {"takeover": False}).settings)
    farm_settings(load(flags | {"takeover_seconds": 30}).settings)
