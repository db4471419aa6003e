"""Whether a task is sound: its solution earns the full mark, doing nothing and every wrong solution earn 0."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from envfarm.envs.base import Reward
from envfarm.orchestrator import policies
from envfarm.orchestrator.play import Played, Player
from envfarm.orchestrator.schemas.episodes import Call
from envfarm.tasks.registry import Registry
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import BackendUnavailable, FarmError, FarmFault, TaskError
from envfarm.trainers.spawned import spawned

_CLOSE = 1e-6

Report = Callable[[str, str], None]
"""Is told a task's id and what is being done with it."""


@dataclass(slots=True)
class Verdict:
    """What validation found out about one task. Rewards are the worst of all repeats, null when there is none."""

    task: str
    kind: str | None = None
    oracle: float | None = None
    noop: float | None = None
    wrong: dict[str, float | None] | None = None
    sound: bool = False
    why: str | None = None  # it is not sound, in one line
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)  # where to look: `the solution: test_log: PATH`

    def json(self) -> dict[str, Any]:
        """As an object; `wrong` is there when wrong solutions were played."""
        names = ["task", "kind", "oracle", "noop", "sound", "why", "seconds", "evidence"]
        names += ["wrong"] * (self.wrong is not None)
        return {name: getattr(self, name) for name in names}


async def validate_all(
    registry: Registry,
    player: Player,
    *,
    jobs: int,
    repeat: int = 1,
    wrong: bool = False,
    report: Report = lambda task, stage: None,
) -> AsyncIterator[Verdict]:
    """The verdicts on a registry's tasks, as they become ready, `jobs` at a time. Raises BackendUnavailable."""
    room = asyncio.Semaphore(jobs)

    async def one(id: str) -> Verdict:
        async with room:
            return await validate(id, registry, player, repeat=repeat, wrong=wrong, report=report)

    async with spawned(one(id) for id in registry.ids()) as tasks:
        for done in asyncio.as_completed(tasks):
            yield await done


async def validate(
    id: str,
    registry: Registry,
    player: Player,
    *,
    repeat: int = 1,
    wrong: bool = False,
    report: Report = lambda task, stage: None,
) -> Verdict:
    """The verdict on one task, each policy played `repeat` times. A broken folder is a verdict too.

    Raises BackendUnavailable.
    """
    started = time.monotonic()
    verdict = Verdict(id)
    try:
        task = registry.get(id)
        verdict.kind = task.kind
        if task.has_image:
            report(task.id, "building")
            await player.images.agent(task)
            await player.images.verifier(task)
        await _play_all(task, player, verdict, repeat, wrong, report)
    except BackendUnavailable:
        raise  # it says nothing about this task, and the next one would fare no better
    except FarmError as error:
        verdict.problems.append(str(error))
    verdict.sound = not verdict.problems
    verdict.why = "; ".join(verdict.problems) or None
    verdict.seconds = round(time.monotonic() - started, 3)
    return verdict


async def _play_all(task: Task, player: Player, verdict: Verdict, repeat: int, wrong: bool, report: Report) -> None:
    report(task.id, "doing nothing")
    noops = await _repeated(task, player, policies.noop(task), repeat)
    verdict.noop = _worst(noops, max)
    _not_above(0.0, "doing nothing", noops, player, verdict)
    try:
        solution = policies.oracle(task)
    except TaskError as error:
        verdict.problems.append(str(error))
    else:
        report(task.id, "its solution")
        oracles = await _repeated(task, player, solution, repeat)
        verdict.oracle = _worst(oracles, min)
        _not_full(task, oracles, player, verdict)
    if wrong:
        verdict.wrong = {}
        for name, calls in policies.wrong(task).items():
            report(task.id, f"wrong: {name}")
            played = await _repeated(task, player, calls, repeat)
            verdict.wrong[name] = _worst(played, max)
            _not_above(task.config.envfarm.wrong_mark, f"wrong: {name}", played, player, verdict)


async def _repeated(task: Task, player: Player, calls: Sequence[Call], repeat: int) -> list[Played]:
    return [await _patient(task, player, calls) for _ in range(repeat)]


async def _patient(task: Task, player: Player, calls: Sequence[Call]) -> Played:
    """Play, once more when the farm failed: that says nothing about the task."""
    try:
        return await player.play(task, calls)
    except FarmFault:
        return await player.play(task, calls)


def _worst(played: Sequence[Played], choose: Callable[[list[float]], float]) -> float | None:
    values = [one.reward.value for one in played]
    known = [value for value in values if value is not None]
    return choose(known) if len(known) == len(values) else None


def _not_above(mark: float, who: str, played: Sequence[Played], player: Player, verdict: Verdict) -> None:
    bound = f"{mark:g} at most" if mark else "0"
    for one in played:
        value = one.reward.value
        if value is None or value > mark + _CLOSE:
            outcome = f"got no reward: {one.reward.reason}" if value is None else f"scored {value:g}, not {bound}"
            verdict.problems.append(f"{who} {outcome}")
            verdict.evidence += _evidence(who, one.reward, player)
            return


def _not_full(task: Task, played: Sequence[Played], player: Player, verdict: Verdict) -> None:
    full = task.config.envfarm.full_mark
    values = [one.reward.value for one in played]
    for one in played:
        value = one.reward.value
        if value is None or value < full - _CLOSE:
            outcome = "got no reward" if value is None else f"scored {value:g}, not {full:g}"
            outcome += f" ({one.reward.reason})" if one.reward.reason else ""
            if len(set(values)) > 1:
                outcome += f" in {sum(v == value for v in values)} of {len(values)} tries"
            said = one.results[-1].content.strip().splitlines() if one.results else []
            ended = f", its output ends with {said[-1][:200]!r}" if said else ""
            verdict.problems.append(f"the solution {outcome}{ended}")
            verdict.evidence += _evidence("the solution", one.reward, player)
            return


def _evidence(who: str, reward: Reward, player: Player) -> list[str]:
    return [f"{who}: {name}: {player.artifacts.path(digest)}" for name, digest in sorted(reward.evidence.items())]
