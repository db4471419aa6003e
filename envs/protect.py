"""Which of an agent's changes reach the tests: test files, their configuration and start-up hooks are the task's."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from envfarm.envs.changes import Changes, Entry, Tree
from envfarm.envs.tables import MIXED, merged
from envfarm.tasks.runners.base import Runner
from envfarm.tasks.spec import Task

ALWAYS = ("Makefile", "GNUmakefile", "makefile", ".envrc", ".gitattributes", ".gitmodules")
"""Protected for every runner."""


@dataclass(frozen=True, slots=True)
class Protection:
    """The task's side of a change."""

    runner: Runner
    globs: tuple[str, ...]
    places: tuple[str, ...]  # files and folders of the repository that hold the task's tests

    def covers(self, path: str) -> bool:
        """Whether a path is the task's and not the agent's; the case of letters makes no difference."""
        if self.runner.is_test(path) or any(path == place or path.startswith(f"{place}/") for place in self.places):
            return True
        folded = path.casefold()
        parts = folded.split("/")
        return any(_matches(glob.casefold(), folded, parts) for glob in self.globs)


def _matches(glob: str, path: str, parts: list[str]) -> bool:
    if glob.startswith("/"):
        return fnmatchcase(parts[0], glob[1:])
    return fnmatchcase(path, glob) if "/" in glob else any(fnmatchcase(part, glob) for part in parts)


def protection(task: Task, runner: Runner, tests: Collection[str]) -> Protection:
    """What a task protects: what its runner names, what task.toml adds, and the files that the verifier brings."""
    farm = task.config.envfarm
    places = tuple(path.strip("/") for path in (*farm.test_paths, *tests))
    return Protection(runner, (*ALWAYS, *runner.protected, *farm.protect), places)


def allowed(changes: Changes, pristine: Tree, protection: Protection) -> Changes:
    """The part of a change that is laid over the pristine tree; the rest goes to `left_out` with the reason."""
    result = Changes(left_out=dict(changes.left_out), problem=changes.problem)
    for path in changes.deleted:
        if protection.covers(path) or PurePosixPath(path).name.lower() in MIXED:
            result.left_out[path] = "belongs to the tests and stays"
        else:
            result.deleted.append(path)
    for path, entry in changes.written.items():
        kept = _kept(path, entry, pristine, protection, result.left_out)
        if kept is not None and kept != pristine.get(path):
            result.written[path] = kept
    return _consistent(result, pristine, protection)


def _kept(path: str, entry: Entry, pristine: Tree, protection: Protection, left_out: dict[str, str]) -> Entry | None:
    if protection.covers(path):
        left_out[path] = "belongs to the tests: the task's own is used"
        return None
    if entry.kind == "link" and _leads_out(path, entry.data.decode("utf-8", "surrogateescape")):
        left_out[path] = "a symbolic link that leads out of the repository"
        return None
    if PurePosixPath(path).name.lower() in MIXED:
        old = pristine.get(path)
        if entry.kind != "file" or (old is not None and old.kind != "file"):
            left_out[path] = "configuration of the tests that is a link"
            return None
        data = merged(path, entry.data, old.data if old else None)
        if data != entry.data:
            left_out[path] = "its test tables are the task's"
        return None if data is None else Entry("file", data, entry.executable)
    return entry


def _leads_out(path: str, target: str) -> bool:
    if target.startswith("/"):
        return True
    depth = path.count("/")
    for part in target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return True
    return False


def _consistent(changes: Changes, pristine: Tree, protection: Protection) -> Changes:
    """Without entries that stand where the final tree needs a folder, as a link in place of the tests' folder does."""
    gone = set(changes.deleted)
    needed = {path for path in pristine if path not in gone} | set(protection.places)
    folders = {parent for path in needed for parent in _parents(path)}
    for path in list(changes.written):
        blockers = [parent for parent in _parents(path) if parent in changes.written]
        blockers += [parent for parent in _parents(path) if parent in pristine and parent not in gone]
        if path in folders or blockers:
            del changes.written[path]
            changes.left_out[path] = "stands in the way of a file that stays"
    return changes


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
