"""The wheel: installs into an empty environment, has everything in it, and its command runs."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

import envfarm

from .test_imports import NEED_TRAINERS
from .wheel import run

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an empty environment with only the wheel and what it asks for."""
    place = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", place / "venv", cwd=place)
    run(place / "venv/bin/python", "-m", "pip", "install", "--quiet", f"{wheel}[server]", cwd=place)
    return place / "venv/bin"


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"envfarm/{path.relative_to(ROOT).as_posix()}"
        for folder in (ROOT / "src/envfarm").iterdir()
        if folder.is_symlink()
        for path in folder.resolve().rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - packed == set()
    assert "envfarm/py.typed" in packed


def test_the_command_runs_from_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    assert "serve" in run(installed / "envfarm", "--help", cwd=tmp_path)
    assert run(installed / "envfarm", "--version", cwd=tmp_path).strip() == envfarm.__version__
    assert "8470" in run(installed / "envfarm", "config", cwd=tmp_path)


def test_every_module_imports_from_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    names = [
        ".".join(("envfarm", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        for folder in (ROOT / "src/envfarm").iterdir()
        if folder.is_symlink()
        for path in folder.resolve().rglob("*.py")
        if not {"samples", "migrations", "__pycache__", "swerex_peer.py", "record_peer.py"} & set(path.parts)
        and path.relative_to(ROOT).as_posix() not in NEED_TRAINERS
    ]
    script = f"import importlib\nfor name in {sorted(names)!r}: importlib.import_module(name)"
    run(installed / "python", "-c", script, cwd=tmp_path)


def test_the_sample_tasks_are_in_it(installed: Path, tmp_path: Path) -> None:
    listed = run(installed / "envfarm", "tasks", "list", "--json", cwd=tmp_path)
    for folder in (ROOT / "tasks/samples").glob("*/*/task.toml"):
        assert folder.parent.relative_to(ROOT / "tasks/samples").as_posix() in listed
