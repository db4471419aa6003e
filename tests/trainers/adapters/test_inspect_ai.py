"""Inspect: its own checks of a sandbox provider, and an evaluation with a scripted model, in the farm's sandboxes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envfarm.trainers.client import SyncFarm

from .conftest import ROOT, TASK, Trainer

SOLUTION = (ROOT / "tasks/samples" / TASK / "solution/solve.sh").read_text()


@pytest.fixture(scope="module")
def inspect(trainer: Callable[[str], Trainer]) -> Trainer:
    return trainer("inspect-ai")


@pytest.fixture(scope="module")
def told(inspect: Trainer) -> Any:
    return inspect.play("inspect_ai_play.py", SOLUTION)


@pytest.mark.timeout(1200)
def test_inspects_own_checks_pass(inspect: Trainer) -> None:
    """As root and as another user; only what that user cannot do by its nature is left out, and must fail."""
    checks = Path(__file__).with_name("inspect_ai_checks.py")
    own = ["-c", "/dev/null", "--noconftest", "-p", "no:cacheprovider", "-q"]
    done = inspect.run("-m", "pytest", *own, checks)
    found = re.search(r"(\d+) passed, 4 xfailed", done)
    assert found, done
    assert int(found[1]) >= 84


def test_the_farms_reward_is_the_score(told: Any) -> None:
    assert told["samples"]["solves"]["scores"] == {"farm_reward": 1.0}
    assert told["samples"]["idles"]["scores"] == {"farm_reward": 0.0}


def test_a_fault_of_the_farm_is_no_score_and_no_tools_answer(told: Any) -> None:
    lost = told["samples"]["loses"]
    assert "is gone" in lost["error"]
    assert all(math.isnan(score) for score in lost["scores"].values())
    assert [text for text, _ in lost["tools"]] == ["begun\n"]
    assert told["metrics"] == {"mean": 0.5}


def test_nothing_stays_open(told: Any, farm: SyncFarm) -> None:
    states = {name: farm.attach(one["episode"]).inner.view.state for name, one in told["samples"].items()}
    assert states == {"solves": "scored", "idles": "scored", "loses": "failed"}


def test_the_snippet_runs(inspect: Trainer) -> None:
    assert inspect.snippet("inspect-ai.md").strip().splitlines()[-1] == "0.0"
