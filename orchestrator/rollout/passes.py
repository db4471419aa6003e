"""pass@k of trajectories, by the unbiased estimator of Chen et al. 2021, "Evaluating Large Language Models …"."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from envfarm.orchestrator.rollout.attempt import Trajectory


def pass_at(k: int, attempts: int, passed: int) -> float:
    """The chance that one of `k` attempts passes, of which `passed` of `attempts` did: 1 - C(n-c, k) / C(n, k)."""
    return 1.0 - math.comb(attempts - passed, k) / math.comb(attempts, k)


def summary(trajectories: Iterable[Trajectory], k: int) -> list[dict[str, Any]]:
    """A row for each kind and one for all: means over tasks. Attempts without a reward are counted and left out.

    A task with fewer than `k` rewards has no pass@k.
    """
    rows = list(trajectories)
    kinds = sorted({one.kind for one in rows})
    made = [_row(kind, [one for one in rows if one.kind == kind], k) for kind in kinds]
    return made if len(kinds) == 1 else [*made, _row("all", rows, k)]


def by_task(trajectories: Iterable[Trajectory]) -> dict[str, list[bool]]:
    """Whether each attempt at a task passed, of those that have a reward."""
    tasks: dict[str, list[bool]] = {}
    for one in trajectories:
        passed = tasks.setdefault(one.task, [])
        if one.passed is not None:
            passed.append(one.passed)
    return tasks


def _row(kind: str, rows: list[Trajectory], k: int) -> dict[str, Any]:
    tasks = by_task(rows)
    values = [one.value for one in rows if one.value is not None]
    row: dict[str, Any] = {
        "kind": kind,
        "tasks": len(tasks),
        "scored": len(values),
        "no reward": len(rows) - len(values),
    }
    for size in sorted({1, k}):
        known = [pass_at(size, len(passed), sum(passed)) for passed in tasks.values() if len(passed) >= size]
        row[f"pass@{size}"] = round(sum(known) / len(known), 4) if known else None
    row["mean"] = round(sum(values) / len(values), 4) if values else None
    row["turns"] = round(sum(one.turns for one in rows) / len(rows), 1) if rows else None
    row["tokens"] = sum(one.prompt_tokens + one.completion_tokens for one in rows)
    return row
