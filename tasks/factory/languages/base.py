"""The seam between the factory and a language: `Language`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Protocol

from envfarm.tasks.runners.base import Runner
from envfarm.toolbox.sandboxes.base import Sandbox


@dataclass(frozen=True, slots=True)
class Project:
    """What a language needs to know of a repository to install what its tests import."""

    name: str
    version: str
    old: Path  # the tree that the agent gets
    new: Path  # the tree that the tests come from
    tests: tuple[str, ...]  # files of `new`
    published: date | None = None
    extra: tuple[str, ...] = ()  # packages that the user named


@dataclass(frozen=True, slots=True)
class Environment:
    """What makes an image after the source lies in /testbed: Dockerfile lines, and files of its build context."""

    base: str
    steps: str
    files: Mapping[str, bytes] = field(default_factory=dict)


class Language(Protocol):
    """One language's packages and tools."""

    name: str
    marks: frozenset[str]  # package files that tell its repositories

    def runner(self, project: Project) -> Runner:
        """The test framework that a project uses."""

    def environment(self, project: Project, runner: Runner, pins: Mapping[str, bytes]) -> Environment:
        """The image's steps: what the project declares when `pins` is empty (a draft), else those exact versions."""

    async def pins(self, sandbox: Sandbox) -> Mapping[str, bytes]:
        """The exact versions in a draft's image, as files for `environment`; empty when there is nothing to pin."""


def dockerfile(*parts: str) -> str:
    """Join parts of a Dockerfile, each ending in one newline."""
    return "\n".join(part.strip("\n") + "\n" for part in parts if part.strip())


def shell(*commands: str) -> str:
    """One RUN instruction of several commands that must all succeed."""
    return "RUN " + " \\\n && ".join(commands)


def first(tree: Path, names: Sequence[str]) -> str | None:
    """The text of the first of these files that exists."""
    for name in names:
        if (tree / name).is_file():
            return (tree / name).read_text("utf-8", "replace")
    return None
