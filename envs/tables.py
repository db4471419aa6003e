"""Files that are part configuration of the tests and part something else: the agent's text with the task's tables."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

_HEADER = re.compile(r"^\s*\[")

_TOML: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "pyproject.toml": (("tool", "pytest"), ("tool", "coverage"), ("tool", "tox"), ("pytest",)),
    "cargo.toml": (
        ("test",),
        ("bench",),
        ("profile",),
        ("dev-dependencies",),
        ("dev_dependencies",),
        ("patch",),
        ("replace",),
        ("package", "build"),
        ("package", "autotests"),
        ("lib", "test"),
        ("lib", "harness"),
    ),
}
_CFG = ("tool:pytest", "pytest", "aliases", "coverage:run")
_PACKAGE = ("scripts", "mocha", "jest", "ava", "tap", "tape", "nyc", "c8", "babel", "devDependencies")

MAX_BYTES = 1 << 20  # of such a file; it takes more time to read than its length deserves

MIXED = (*_TOML, "setup.cfg", "package.json")
"""Base names of such files, in lower case."""


def merged(path: str, agent: bytes, pristine: bytes | None) -> bytes | None:
    """The agent's file with the tables that steer tests as the task has them; None for a file that only has those.

    When the agent's text cannot be read, or hides such a table, the task's own file is taken whole.
    """
    name = PurePosixPath(path).name.lower()
    if len(agent) > MAX_BYTES:
        return pristine
    try:
        mine, theirs = agent.decode(), (pristine or b"").decode()
        if name in _TOML:
            result = _toml(mine, theirs, _TOML[name])
        elif name == "setup.cfg":
            result = _swap(mine, theirs, lambda header: header in _CFG)
        else:
            result = _package(mine, theirs)
        return result.encode() if result.strip() or pristine is not None else None
    except (ValueError, RecursionError):
        return pristine


def _toml(mine: str, theirs: str, owned: tuple[tuple[str, ...], ...]) -> str:
    tops = [path for path in owned if path[0] != "package" and path[0] != "lib"]

    def is_owned(header: str) -> bool:
        keys = tuple(part.strip().strip("\"'") for part in header.split("."))
        return any(keys[: len(path)] == path for path in tops)

    result = _swap(mine, theirs, is_owned)
    got, want = tomllib.loads(result), tomllib.loads(theirs)
    if any(_value(got, path) != _value(want, path) for path in owned):
        raise ValueError("a table of the tests is hidden in a key")
    return result


def _swap(mine: str, theirs: str, owned: Callable[[str], bool]) -> str:
    """The sections of `mine` that are not owned, then those of `theirs` that are."""
    kept = [text for header, text in _sections(mine) if not owned(header)]
    taken = [text for header, text in _sections(theirs) if owned(header)]
    if [text for header, text in _sections(mine) if owned(header)] == taken:
        return mine
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in kept + taken if text)


def _sections(text: str) -> list[tuple[str, str]]:
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines(keepends=True):
        if _HEADER.match(line):
            sections.append((line.strip().lstrip("[").partition("]")[0].strip(), []))
        sections[-1][1].append(line)
    return [(header, "".join(lines)) for header, lines in sections]


def _package(mine: str, theirs: str) -> str:
    agent, task = json.loads(mine), json.loads(theirs or "{}")
    if not isinstance(agent, dict) or not isinstance(task, dict):
        raise ValueError("package.json is not an object")
    if all(agent.get(key) == task.get(key) for key in _PACKAGE):
        return mine
    result = {key: value for key, value in agent.items() if key not in _PACKAGE}
    result |= {key: task[key] for key in _PACKAGE if key in task}
    return json.dumps(result, indent=2, ensure_ascii=False) + "\n"


def _value(data: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data
