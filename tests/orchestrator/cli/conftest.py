"""Runs the installed `envfarm` command, as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

Run = subprocess.CompletedProcess[str]
COMMAND = Path(sys.executable).parent / "envfarm"


@dataclass
class Cli:
    """The command in a folder of its own, with no settings but those given."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *args: str | Path, code: int = 0, **env: str) -> Run:
        """Run it; the exit code must be `code`."""
        done = subprocess.run(
            [COMMAND, *args],
            cwd=self.folder,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, f"{args}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def error(self, *args: str | Path, code: int, **env: str) -> str:
        """Run it; its one line of error, without `error: `."""
        done = self(*args, code=code, **env)
        assert "Traceback" not in done.stderr
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")

    def start(self, *args: str | Path, **env: str) -> subprocess.Popen[str]:
        """Start it in the background."""
        return subprocess.Popen(
            [COMMAND, *args],
            cwd=self.folder,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ENVFARM_")}
        return {**clean, **self.env, **more}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command, on the simulated back end."""
    return Cli(tmp_path, {"ENVFARM_BACKEND": "simulated"})


@pytest.fixture
def serve(cli: Cli) -> Iterator[Callable[..., str]]:
    """Starts `envfarm serve` on a free port; gives its URL."""
    running: list[subprocess.Popen[str]] = []

    def start(**env: str) -> str:
        server = cli.start("serve", "--port", "0", **env)
        running.append(server)
        announced = cli.folder / "envfarm-data/server.json"
        while not announced.exists():
            assert server.poll() is None, server.communicate()
            time.sleep(0.05)
        return str(json.loads(announced.read_text())["url"])

    yield start
    for server in running:
        server.terminate()
        out, err = server.communicate(timeout=30)
        assert server.returncode == 0, f"{out}{err}"
        assert not (cli.folder / "envfarm-data/server.json").exists()
