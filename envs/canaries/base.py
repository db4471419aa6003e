"""The seam between line-ups and the language that tests are written in: `Language`."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Template:
    """A real test in a file's text: `text[start:end]` is the whole of it, and begins a line."""

    test: str  # its id, without parameters
    name: str  # as it is written
    start: int
    end: int
    scope: str = ""  # tells apart the blocks of a file that tests stand in, where ids do not


@dataclass(frozen=True, slots=True)
class Swap:
    """A place in a test's source, and the wrong texts that stand there in its decoys, one in each."""

    start: int
    end: int
    wrong: tuple[str, ...]

    def decoys(self, source: str) -> list[str]:
        """The test's source with each of the wrong texts."""
        return [source[: self.start] + text + source[self.end :] for text in self.wrong]


class Language(Protocol):
    """How tests are written in one language."""

    within: str
    """What follows a test's id in the ids of its parameters, or of the tests within it; empty where it has none."""

    def templates(self, place: str, text: str, tests: Collection[str]) -> list[Template]:
        """The tests in a file that are among these ids and plain enough to be copied; `place` begins their ids."""

    def inherited(self, files: Mapping[str, str], tests: Collection[str]) -> Mapping[str, list[str]]:
        """The ids of tests that stand in a base class, by the id that such a test would have there."""

    def name(self, words: Sequence[str], like: str) -> str:
        """A name of these words in the manner of another test's."""

    def renamed(self, source: str, template: Template, name: str) -> str:
        """The test's source, with nothing changed but its name."""

    def versions(self, text: str, template: Template, names: Sequence[str], rng: random.Random) -> list[str]:
        """The test under each name: first the true version, then such with wrong expectations, all in the same place.

        Had each its own place, the true test would be the one that differs least from all others. Whoever runs them
        truthfully sees each fail where the true test passes. Where decoys get a line more, the true version gets
        one too, which holds. Fewer than there are names when it offers no way.
        """

    def swaps(self, text: str, template: Template, count: int, rng: random.Random) -> list[Swap]:
        """Places that seem to hold an expectation, the likeliest first, with `count` wrong texts for each.

        For tests without a value that is sure to be compared with. Whether decoys made so fail, the solution must show.
        """

    def passing(self, source: str, template: Template, name: str, rng: random.Random) -> str:
        """A test in this one's form that passes whatever the code under test does."""

    def standalone(self, path: str, text: str, name: str, other: str, rng: random.Random) -> tuple[str, str, str, str]:
        """A new file beside one without templates: its path, its text, the ids of a failing and a passing test.

        The ids lack the place, which the caller knows: they begin with `::` or with the new file's own place.
        """
