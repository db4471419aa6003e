"""The wheel that a user gets, built from a copy of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".cache", ".*_cache", "__pycache__", "*.egg-info", "build", "dist", "envfarm-data"
)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program away from the checkout and from this environment; its output, or a failure that shows it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ENVFARM_", "PYTHON"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def build(place: Path) -> Path:
    """The wheel, in a folder; nothing is left in the checkout."""
    shutil.copytree(ROOT, place / "source", symlinks=True, ignore=LEFT_OUT)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", place, place / "source", cwd=place)
    (built,) = place.glob("*.whl")
    return built
