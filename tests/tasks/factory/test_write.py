"""The parts of a task folder that only plain Harbor reads."""

from __future__ import annotations

import pytest

from envfarm.tasks.factory.write import without
from envfarm.tasks.runners.cargo import Cargo
from envfarm.tasks.runners.go import Go
from envfarm.tasks.runners.pytest import Pytest


@pytest.mark.parametrize(
    ("command", "runner", "failing", "expected"),
    [
        (Pytest().command([], "/tmp/r"), "pytest", ["t.py::a[1 2]"], "--deselect='t.py::a[1 2]'"),
        (
            Cargo().command([], "/tmp/r"),
            "cargo",
            ["tests/a.rs::mod::b", "tests/c.rs"],
            "-- --test-threads=2 --skip mod::b >",
        ),
        (Go().command([], "/tmp/r"), "go", ["a::T"], "go test"),
    ],
    ids=["pytest", "cargo", "go"],
)
def test_leaves_out_what_fails_with_the_fix_too(command: str, runner: str, failing: list[str], expected: str) -> None:
    assert expected in without(runner, command, failing)
    assert without(runner, command, []) == command
