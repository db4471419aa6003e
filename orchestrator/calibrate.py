"""Whether a judge can be trusted: the real prompt on work that is known to be good and work that is known to be worse.

Good are a web task's solution and the texts `rubric/good-*` of a task with a rubric; worse are its mutants, and
`rubric/bad-*`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envfarm.envs.judge.judge import Judge
from envfarm.envs.judge.verdict import Verdict
from envfarm.orchestrator import policies
from envfarm.orchestrator.play import Player
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import TaskError


@dataclass(slots=True)
class Case:
    """One piece of work and what the judge said of it; no verdict where the farm had none to judge."""

    task: str
    name: str
    good: bool
    verdict: Verdict | None = None

    @property
    def score(self) -> float | None:
        """0 to 1."""
        return None if self.verdict is None else self.verdict.score


@dataclass(slots=True)
class Report:
    """What a judge did on all cases. Shares are 0 to 1, null where there was nothing to compare."""

    cases: list[Case] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Ranking: pairs of one task in which the good one scored higher, ties half.

        Polarity: tasks whose good work scored higher in the mean. Agreement: votes that are as most are.
        """
        pairs = [(good, bad) for good in self._scores(True) for bad in self._scores(False) if good[0] == bad[0]]
        ranked = [1.0 if good > bad else 0.5 if good == bad else 0.0 for (_, good), (_, bad) in pairs]
        tasks = {task for task, _ in self._scores(True)} & {task for task, _ in self._scores(False)}
        upright = [_mean(self._of(task, True)) > _mean(self._of(task, False)) for task in tasks]
        verdicts = [case.verdict for case in self.cases if case.verdict is not None]
        agreed = [_agreement(verdict) for verdict in verdicts if verdict.leaves]
        return {
            "cases": len(self.cases),
            "judged": len(verdicts),
            "ranking": _share(ranked),
            "polarity": _share([float(one) for one in upright]),
            "agreement": _share(agreed),
            "good": _share([score for _, score in self._scores(True)]),
            "worse": _share([score for _, score in self._scores(False)]),
            "calls": sum(verdict.calls for verdict in verdicts if not verdict.cached),
            "tokens": sum(verdict.tokens for verdict in verdicts if not verdict.cached),
        }

    def _scores(self, good: bool) -> list[tuple[str, float]]:
        return [(case.task, case.score) for case in self.cases if case.good is good and case.score is not None]

    def _of(self, task: str, good: bool) -> list[float]:
        return [score for name, score in self._scores(good) if name == task]


async def calibrate(tasks: Sequence[Task], player: Player, judge: Judge) -> AsyncIterator[Case]:
    """Every case of the tasks with its verdict, as it is there. Raises TaskError (nothing to judge), FarmFault."""
    found = 0
    for task in tasks:
        async for case in _texts(task, judge) if task.config.envfarm.rubric is not None else _pages(task, player):
            found += 1
            yield case
    if not found:
        raise TaskError(
            "none of these tasks has work to calibrate by: a web task's solution and wrong/*.sh, or, beside "
            "[envfarm.rubric], texts in rubric/good-* and rubric/bad-*"
        )


async def _texts(task: Task, judge: Judge) -> AsyncIterator[Case]:
    rubric = task.config.envfarm.rubric
    assert rubric is not None
    paths = await asyncio.to_thread(lambda: sorted((task.path / "rubric").glob("*")))
    for path in paths:  # all before the first costs anything
        if not path.name.startswith(("good-", "bad-")):
            raise TaskError(f"{path}: neither good nor bad by its name; call it good-{path.name} or bad-{path.name}")
    for path in paths:
        text = await asyncio.to_thread(_text, path)
        verdict = await judge.judge(rubric, request=task.instruction, text=text)
        yield Case(task.id, path.name, path.name.startswith("good-"), verdict)


async def _pages(task: Task, player: Player) -> AsyncIterator[Case]:
    if task.kind != "web":
        return
    await player.images.agent(task)
    works = {"solution": policies.oracle(task), **policies.wrong(task)}
    for name, calls in works.items():
        reward = (await player.play(task, calls)).reward
        digest = reward.evidence.get("verdict.json")
        case = Case(task.id, name, name == "solution")
        if digest is not None:
            case.verdict = Verdict.model_validate_json(await asyncio.to_thread(player.artifacts.get, digest))
        yield case


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path}: cannot be read as text: {error}") from None


def _agreement(verdict: Verdict) -> float:
    shares = []
    for leaf in verdict.leaves:
        yes = sum(vote.answer for vote in leaf.votes)
        shares.append(max(yes, len(leaf.votes) - yes) / len(leaf.votes))
    return sum(shares) / len(shares)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _share(values: Sequence[float]) -> float | None:
    return round(_mean(values), 4) if values else None
