"""A server's name and its claim on a data folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envfarm.orchestrator.errors import DataInUse
from envfarm.orchestrator.identity import Identity


def test_the_id_outlives_the_server(tmp_path: Path) -> None:
    first = Identity(tmp_path)
    first.release()
    second = Identity(tmp_path)
    assert first.owner == second.owner
    second.release()


def test_a_folder_has_one_server(tmp_path: Path) -> None:
    first = Identity(tmp_path)
    with pytest.raises(DataInUse, match="another envfarm server"):
        Identity(tmp_path)
    first.release()
    Identity(tmp_path).release()


def test_a_dead_server_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from envfarm.orchestrator.identity import Identity; "
        "held = Identity(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == -9
    Identity(tmp_path).release()
