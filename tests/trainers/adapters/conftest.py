"""A live farm with the sample tasks, and the virtual environments that have the trainers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from envfarm.trainers.client import SyncFarm

ROOT = Path(__file__).parents[3]
TASK = "terminal/makefile-only-works-twice"
TOKEN = "farm"


@dataclass
class Trainer:
    """A trainer's own Python, and the farm that it finds in its environment."""

    python: Path
    url: str
    folder: Path

    def run(self, *command: str | Path) -> str:
        """What a program prints there."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ENVFARM_")}
        own = {
            "ENVFARM_URL": self.url,
            "ENVFARM_TOKEN": TOKEN,
            "HOME": str(self.folder),
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "UV_CACHE_DIR": str(ROOT / ".cache/trainers/uv"),
        }
        done = subprocess.run(
            [self.python, *command], cwd=self.folder, env=clean | own, stdin=subprocess.DEVNULL, capture_output=True
        )
        assert done.returncode == 0, f"{done.stdout.decode()}\n{done.stderr.decode()}"
        return done.stdout.decode()

    def play(self, script: str, *args: str) -> Any:
        """The JSON that one of the scripts beside the tests prints last."""
        return json.loads(self.run(Path(__file__).with_name(script), *args).strip().splitlines()[-1])

    def snippet(self, page: str, **instead: str) -> str:
        """What the first Python block of a page prints."""
        code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/trainers" / page).read_text(), re.DOTALL)[0]
        for there, here in {"http://127.0.0.1:8470": self.url, **instead}.items():
            code = code.replace(there, here)
        return self.run("-c", code)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory, docker_base: str, engine: docker.DockerClient) -> Iterator[Path]:
    """The data folder of `envfarm serve` with Docker and the sample tasks."""
    folder = tmp_path_factory.mktemp("farm")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ENVFARM_")}
    own = {"ENVFARM_DATA": str(folder / "data"), "ENVFARM_TOKENS": TOKEN, "ENVFARM_WARM": "0"}
    command = [sys.executable, "-m", "envfarm.orchestrator.cli", "serve", "--port", "0"]
    server = subprocess.Popen(command, env=clean | own, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (folder / "data/server.json").exists():
        assert server.poll() is None
        time.sleep(0.1)
    yield folder / "data"
    server.terminate()
    server.wait(60)
    for container in engine.containers.list(all=True, filters={"label": f"envfarm.owner={owner(folder / 'data')}"}):
        container.remove(force=True)


def owner(data: Path) -> str:
    """The label of the farm's containers."""
    return (data / "server-id").read_text().strip()


@pytest.fixture(scope="session")
def url(live: Path) -> str:
    """The live farm's address."""
    return str(json.loads((live / "server.json").read_text())["url"])


@pytest.fixture
def farm(url: str) -> Iterator[SyncFarm]:
    """The live farm, as this process sees it."""
    with SyncFarm(url, token=TOKEN) as farm:
        yield farm


@pytest.fixture(scope="session")
def trainer(url: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trainer]:
    """Gives the virtual environment of that name, which is made when it is missing."""

    def get(name: str) -> Trainer:
        subprocess.run([ROOT / "scripts/trainers.sh", name], check=True, stdin=subprocess.DEVNULL)
        python = ROOT / ".cache/trainers" / name / "bin/python"
        return Trainer(python, url, tmp_path_factory.mktemp(name))

    return get
