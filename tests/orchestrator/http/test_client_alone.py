"""The client installs alone: a handful of packages, no database, and an episode to its reward."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ...wheel import run

Api = Any

SCRIPT = """
import asyncio, sys
from envfarm.trainers.client import Farm, SyncFarm

async def main() -> None:
    async with Farm(sys.argv[1]) as farm, farm.episode("toy/one") as episode:
        await episode.call("bash", command="echo 1 > /mark")
        print(float(await episode.reward()))

asyncio.run(main())
with SyncFarm(sys.argv[1]) as farm, farm.episode("toy/two") as episode:
    print(float(episode.reward()))
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"docker", "kubernetes", "sqlalchemy", "typer"}, loaded
"""
HEAVY = {"docker", "kubernetes", "sqlalchemy", "alembic", "tantivy", "typer", "uvloop"}


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with `envfarm[client]` in it."""
    place = tmp_path_factory.mktemp("alone")
    run(sys.executable, "-m", "venv", place / "venv", cwd=place)
    run(place / "venv/bin/python", "-m", "pip", "install", "--quiet", f"{wheel}[client]", cwd=place)
    return place / "venv/bin"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_it_drives_an_episode_with_a_handful_of_packages(alone: Path, api: Api, tmp_path: Path) -> None:
    (tmp_path / "play.py").write_text(SCRIPT)
    said = await asyncio.to_thread(run, alone / "python", tmp_path / "play.py", api.url, cwd=tmp_path)
    assert said.split() == ["1.0", "0.0"]
    listed = json.loads(run(alone / "python", "-m", "pip", "list", "--format=json", cwd=tmp_path))
    names = {one["name"].lower() for one in listed} - {"pip", "setuptools"}
    assert {"envfarm", "aiohttp", "pydantic"} <= names
    assert not names & HEAVY
    assert len(names) < 20, names


def test_its_command_says_what_to_install(alone: Path, tmp_path: Path) -> None:
    done = subprocess.run([alone / "envfarm", "serve"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "error: there is no typer: this is the client of envfarm alone; pip install 'envfarm[server]'"
    ]
