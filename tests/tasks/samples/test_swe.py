"""The SWE tasks that envfarm ships: fetched by checksum, free to ship, and sound when they are played."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envfarm.tasks.folder import load
from envfarm.tasks.registry import samples

FOLDERS = sorted((samples() / "swe").iterdir())
FREE = re.compile(r"\b(MIT|BSD|BSD-[23]-Clause|Apache-2\.0|ISC)\b")
SHIPPED = {
    "task.toml",
    "instruction.md",
    "environment/Dockerfile",
    "environment/requirements.txt",
    "environment/package.json",
    "environment/package-lock.json",
    "environment/Cargo.lock",
    "tests/Dockerfile",
    "tests/get_tests.sh",
    "tests/files.txt",
    "tests/ids.json",
    "tests/test.sh",
    "solution/fix.patch",
    "solution/solve.sh",
}

QUICK = {"parse-1.20.2", "qs-6.12.2"}
"""Played here; `make demo` and `make test-soak` play the others too, and tests/envs/ has every language."""
task = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
played = pytest.mark.parametrize(
    "folder",
    [one if one.name in QUICK else pytest.param(one, marks=pytest.mark.soak) for one in FOLDERS],
    ids=[one.name for one in FOLDERS],
)


def test_there_are_enough_in_enough_languages() -> None:
    assert len(FOLDERS) >= 8
    assert {load(folder).config.envfarm.language for folder in FOLDERS} >= {"python", "go", "node"}


@task
def test_is_a_bug_with_tests_for_it(folder: Path) -> None:
    table = load(folder).config.envfarm
    assert 1 <= len(table.fail_to_pass) <= 20
    assert len(table.pass_to_pass) >= 10
    assert not set(table.fail_to_pass) & set(table.pass_to_pass)


@task
def test_names_its_releases_and_fetches_them_by_checksum(folder: Path) -> None:
    source = load(folder).config.envfarm.source
    assert source.licence is not None
    assert FREE.search(source.licence)
    for side, file in (("old", "environment/Dockerfile"), ("new", "tests/get_tests.sh")):
        text = (folder / file).read_text()
        assert source.model_extra is not None
        assert source.model_extra[f"{side}_url"] in text
        assert f"echo '{source.model_extra[f'{side}_sha256']}  /tmp/release' | sha256sum -c" in text


@task
def test_holds_no_source_but_the_fix(folder: Path) -> None:
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} <= SHIPPED
    assert len((folder / "solution" / "fix.patch").read_text().splitlines()) < 300


@task
def test_the_agents_image_is_made_without_the_newer_release(folder: Path) -> None:
    source = load(folder).config.envfarm.source
    assert source.new is not None
    assert source.new.removeprefix("v") not in (folder / "environment" / "Dockerfile").read_text()


@played
@pytest.mark.timeout(600)
def test_is_sound(folder: Path, image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ("base", "go", "node", "rust"):
        image(name)
    data = tmp_path_factory.getbasetemp() / "swe-samples"  # one for all, so that they share its builds' logs
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "envfarm.orchestrator.cli",
            "tasks",
            "validate",
            str(folder),
            "--json",
            "--data",
            str(data),
        ],
        capture_output=True,
        text=True,
        timeout=580,
    )
    verdict = json.loads(done.stdout)
    assert (verdict["oracle"], verdict["noop"], verdict["sound"]) == (1.0, 0.0, True), verdict["why"]
    assert done.returncode == 0
