"""Tries with the task's solution which wrong values make a test fail, where no rule says so beforehand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from envfarm.envs.canaries.base import Swap, Template
from envfarm.envs.canaries.plant import Names, Page, Suite, pages, plain, row
from envfarm.envs.canaries.planted import LineUp, Planted
from envfarm.tasks.runners.base import Outcome

MAX_SWAPS = 8  # of one test that are tried
MAX_TRIED = 40  # of all tests together, but one of each at least: each is a test's body, run a few times
TRIALS = 2  # that a swap must stand: what fails once may have failed by chance
RUNS = 8  # of each trial at most, where some swaps spoil the run of all

Attempt = Callable[[Planted], Awaitable[Mapping[str, Outcome] | None]]
"""Runs the tests on the task's solution; None for a run that cannot be judged."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: str
    template: Template
    swap: Swap


def constant(suite: Suite, rng: random.Random) -> list[str]:
    """The fail-to-pass tests that have no value of which it is certain that it is compared with."""
    return [template.test for _, template, _ in _constant(suite, rng)]


async def prove(suite: Suite, rng: random.Random, attempt: Attempt) -> dict[str, tuple[Swap, ...]]:
    """Swaps for those tests that make exactly them fail on the solution, by test; none for those that have none."""
    kept = await asyncio.to_thread(_candidates, suite, rng)
    for _ in range(TRIALS):
        kept = await _failing(suite, kept, rng, attempt)
    return {
        test: tuple(one.swap for one in kept if one.template.test == test)
        for test in {one.template.test for one in kept}
    }


def _constant(suite: Suite, rng: random.Random) -> list[tuple[Page, Template, int]]:
    every = pages(suite, Names(suite, rng), Planted())
    count, first = row(suite, every), plain(suite.first)
    return [
        (page, template, count)
        for page in every
        for template in page.among(first)
        if not {*page.ids(template)} & {*suite.solo} and page.constant(template, count)
    ]


def _candidates(suite: Suite, rng: random.Random) -> list[_Candidate]:
    uncertain = _constant(suite, rng)
    share = min(MAX_SWAPS, max(1, MAX_TRIED // max(1, len(uncertain))))
    return [
        _Candidate(page.path, template, swap)
        for page, template, count in uncertain
        for swap in suite.language.swaps(page.text, template, count, rng)[:share]
    ]


async def _failing(
    suite: Suite, candidates: Sequence[_Candidate], rng: random.Random, attempt: Attempt
) -> list[_Candidate]:
    """Those with which the test fails, and without which it passes.

    One that spoils the run of all, as what does not compile does, is found by halves.
    """
    waiting, found = [list(candidates)] if candidates else [], []
    for _ in range(RUNS):
        if not waiting:
            break
        group = waiting.pop()
        planted, lineups = await asyncio.to_thread(_planted, suite, group, rng)
        outcomes = await attempt(planted)
        if outcomes is not None:
            found += [
                one
                for one, called in zip(group, lineups, strict=True)
                if called and all(planted.holds(lineup, outcomes) for lineup in called)
            ]
        elif len(group) > 1:
            half = len(group) // 2
            waiting += [group[half:], group[:half]]
    return found


def _planted(suite: Suite, candidates: Sequence[_Candidate], rng: random.Random) -> tuple[Planted, list[list[LineUp]]]:
    """The test files with the copies that these candidates need, and those of each."""
    names = Names(suite, rng)
    planted = Planted(within=suite.language.within, names=names.taken)
    every = {page.path: page for page in pages(suite, names, planted)}
    lineups = [every[one.path].trial(one.template, one.swap) for one in candidates]
    planted.lineups = [lineup for called in lineups for lineup in called]
    for path in {one.path for one in candidates}:
        planted.files[path] = every[path].written().encode()
    return planted, lineups
