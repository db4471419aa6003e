"""The root of the command line: help, versions, mistakes, and how quick it is to import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import envfarm
from envfarm.orchestrator.cli import UNABLE, WRONG_INPUT, code
from envfarm.orchestrator.cli.app import app
from envfarm.toolbox.errors import BackendUnavailable, FarmFull, ImageError, NotFound, TaskError


def test_help_names_every_command(cli: Any) -> None:
    shown = cli("--help").stdout
    for command in ("serve", "tasks", "run", "episodes", "replay", "shell", "doctor", "bench", "config"):
        assert command in shown
    assert cli("--version").stdout.strip() == envfarm.__version__


def _paths(command: Any, *words: str) -> Iterator[tuple[str, ...]]:
    """The words of a command and of all below it."""
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from _paths(below, *words, name)


def test_every_command_explains_itself() -> None:
    paths = list(_paths(get_command(app)))
    assert ("tasks", "push") in paths
    for words in paths:
        done = CliRunner().invoke(app, [*words, "--help"])
        assert (done.exit_code, done.exception) == (0, None), words
        assert "Usage:" in done.stdout


def test_help_loads_nothing_heavy() -> None:
    heavy = ["aiohttp", "alembic", "docker", "sqlalchemy", "uvloop"]
    script = f"import sys, envfarm.orchestrator.cli.app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_wrong_command_or_flag_is_exit_code_2(cli: Any) -> None:
    assert "Did you mean 'config'" in cli("conf", code=2).stderr
    assert "--port" in cli("serve", "--prot", "1", code=2).stderr


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotFound("x"), WRONG_INPUT),
        (TaskError("x"), WRONG_INPUT),
        (ImageError("x"), WRONG_INPUT),
        (BackendUnavailable("x"), UNABLE),
        (FarmFull("x"), UNABLE),
    ],
)
def test_an_error_has_an_exit_code_that_says_whose_it_is(error: Any, expected: int) -> None:
    assert code(error) == expected
