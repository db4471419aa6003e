"""The file of trajectories, and pass@k of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from envfarm.orchestrator.rollout.attempt import Trajectory
from envfarm.orchestrator.rollout.ledger import Ledger
from envfarm.orchestrator.rollout.passes import pass_at, summary
from envfarm.toolbox.errors import BadRequest


def made(task: str = "t", attempt: int = 0, value: float | None = 1.0, **more: Any) -> Trajectory:
    passed = None if value is None else value == 1.0
    about: dict[str, Any] = {"task": task, "kind": "k", "model": "m", "status": "done"} | more
    return Trajectory(attempt=attempt, value=value, passed=passed, **about)


def test_what_has_a_reward_is_not_played_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "new" / "out.jsonl", "m")
    for one in (made(attempt=0, value=0.0), made(attempt=1, value=None), made(attempt=2)):
        ledger.add(one)
    again = Ledger(ledger.path, "m")
    assert again.left("t", 4) == [1, 3]
    again.add(made(attempt=1, value=1.0))
    assert Ledger(ledger.path, "m").left("t", 3) == []


def test_half_a_line_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    Ledger(path, "m").add(made())
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"task": "t", "att')
    assert Ledger(path, "m").left("t", 1) == []
    assert path.read_bytes() == whole


def test_another_models_file_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    Ledger(path, "m").add(made())
    with pytest.raises(BadRequest, match="attempts of 'm', not of 'other'; name another with --out"):
        Ledger(path, "other")
    path.write_text("hello\n")
    with pytest.raises(BadRequest, match="line 1: no trajectory"):
        Ledger(path, "m")


@pytest.mark.parametrize(("attempts", "passed", "k"), [(5, 2, 1), (5, 2, 3), (4, 0, 2), (4, 4, 4), (6, 1, 5)])
def test_pass_at_k_is_the_share_of_samples_with_a_pass(attempts: int, passed: int, k: int) -> None:
    samples = list(itertools.combinations([True] * passed + [False] * (attempts - passed), k))
    assert pass_at(k, attempts, passed) == pytest.approx(sum(map(any, samples)) / len(samples))


def test_attempts_without_a_reward_count_nowhere_but_are_shown() -> None:
    rows = [made(attempt=0), made(attempt=1, value=0.0), made(attempt=2, value=None, status="model")]
    rows += [made("u", n, 0.0, kind="l") for n in range(3)]
    kinds = {row["kind"]: row for row in summary(rows, 3)}
    assert (kinds["k"]["scored"], kinds["k"]["no reward"], kinds["k"]["pass@1"]) == (2, 1, 0.5)
    assert kinds["k"]["pass@3"] is None  # it has two rewards
    assert (kinds["all"]["tasks"], kinds["all"]["pass@1"], kinds["all"]["pass@3"]) == (2, 0.25, 0.0)
