"""Test frameworks: how each is run, what it reports, and which files steer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from envfarm.tasks.runners.base import Runner
from envfarm.tasks.runners.cargo import Cargo
from envfarm.tasks.runners.go import Go
from envfarm.tasks.runners.node import Jest, Mocha, Node, Tape
from envfarm.tasks.runners.pytest import Pytest
from envfarm.toolbox.errors import TaskError

_KINDS: tuple[Callable[[], Runner], ...] = (Pytest, Go, Cargo, Node, Mocha, Jest, Tape)
RUNNERS: Mapping[str, Callable[[], Runner]] = {kind().name: kind for kind in _KINDS}


def runner(name: str | None) -> Runner:
    """The runner of that name. Raises TaskError for one that does not exist."""
    if name is None or name not in RUNNERS:
        raise TaskError(f"task.toml: [envfarm] runner: {name!r} is none of {', '.join(RUNNERS)}")
    return RUNNERS[name]()
