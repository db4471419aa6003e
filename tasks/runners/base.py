"""The seam between a repository's tests and those who run them: `Runner`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

Outcome = Literal["passed", "failed", "skipped", "error"]

_WORST: tuple[Outcome, ...] = ("passed", "skipped", "failed", "error")

MAX_IDS = 64 << 20
"""Characters that the ids of one report may have together: a long name is written once and may count for many tests."""


class Runner(Protocol):
    """One test framework. A test id is `<file or package>::<name as the framework prints it>`."""

    name: str
    protected: tuple[str, ...]
    """Globs of files that steer the runner or run before the tests: they come from the task, never from the agent.

    A glob without a slash matches any one part of a path, `/glob` the first part, any other the whole path.
    """
    env: Mapping[str, str]
    """Variables that the command needs, for a run that is the same everywhere."""

    def is_test(self, path: str) -> bool:
        """Whether a repository path (with `/`) holds tests or what only tests need."""

    def paths(self, ids: Sequence[str]) -> list[str]:
        """The test paths, in the sense of `command`, that together hold these tests."""

    def command(self, paths: Sequence[str], report: str) -> str:
        """The shell command that runs these test paths (all when empty) in the repository and writes `report`.

        `report` is an absolute path. The command's exit status is the runner's own.
        """

    def parse(self, report: bytes) -> Mapping[str, Outcome]:
        """The outcome of every test that the report names.

        The code under test may have written the report. Whatever is in it, only ValueError is raised.
        """

    def agrees(self, outcomes: Mapping[str, Outcome], exit_code: int) -> bool:
        """Whether an exit status is the one that a truthful run with these outcomes has."""


class Tally(dict[str, Outcome]):
    """Outcomes by test id; of several for one id the worst counts."""

    _left = MAX_IDS

    def add(self, test: str, outcome: Outcome) -> None:
        """Count one outcome. Raises ValueError when the ids grow out of all proportion."""
        self._left -= len(test)
        if self._left < 0:
            raise ValueError("the names of its tests are too long")
        self[test] = max(self.get(test, outcome), outcome, key=_WORST.index)


def broken(outcomes: Mapping[str, Outcome]) -> bool:
    """Whether any test failed or could not be run."""
    return any(outcome in ("failed", "error") for outcome in outcomes.values())


def parts_of(path: str) -> list[str]:
    """A path's parts, in lower case, as test folders are told apart."""
    return path.lower().split("/")


def files_of(ids: Sequence[str]) -> list[str]:
    """What stands before `::` in each id, once each, sorted."""
    return sorted({test.partition("::")[0] for test in ids} - {""})
