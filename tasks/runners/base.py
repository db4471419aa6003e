"""The seam between a repository's tests and those who run them: `Runner`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

Outcome = Literal["passed", "failed", "skipped", "error"]


class Runner(Protocol):
    """One test framework. A test id is what that framework prints, made stable over runs and machines."""

    name: str
    protected: tuple[str, ...]
    """Globs of files that steer the runner or run before the tests: they come from the task, never from the agent."""

    def is_test(self, path: str) -> bool:
        """Whether a repository path (with `/`) holds tests or what only tests need."""

    def command(self, paths: Sequence[str], report: str) -> str:
        """The shell command that runs these test paths (all when empty) in the repository and writes `report`.

        `report` is an absolute path. The command's exit status is the runner's own.
        """

    def parse(self, report: bytes) -> Mapping[str, Outcome]:
        """The outcome of every test that the report names. Raises ValueError when it is broken or cut short."""

    def agrees(self, outcomes: Mapping[str, Outcome], exit_code: int) -> bool:
        """Whether an exit status is the one that a truthful run with these outcomes has."""
