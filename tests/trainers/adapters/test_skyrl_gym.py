"""skyrl-gym's own registry and base class play rollouts on the farm, in threads as SkyRL's generator does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from envfarm.trainers.client import SyncFarm

from .conftest import ROOT, TASK, Trainer

SOLUTION = (ROOT / "tasks/samples" / TASK / "solution/solve.sh").read_text()


@pytest.fixture(scope="module")
def skyrl(trainer: Callable[[str], Trainer]) -> Trainer:
    return trainer("skyrl-gym")


@pytest.fixture(scope="module")
def told(skyrl: Trainer) -> Any:
    return skyrl.play("skyrl_gym_play.py", SOLUTION)


def test_the_last_turn_has_the_reward(told: Any) -> None:
    assert told["solves"]["rewards"] == [0.0, 1.0]
    assert told["long"]["rewards"] == [0.0]
    assert told["solves"]["first"] == ["system", "user"]


def test_a_mistake_of_the_model_is_answered(told: Any) -> None:
    no_json, no_object, misspelt = told["says"]["seen"]
    assert "an object with `name` and `arguments`" in no_object
    assert "no JSON" in no_json
    assert "did you mean `command`" in misspelt
    assert told["says"]["rewards"] == [0.0, 0.0, 0.0, 0.0]


def test_a_fault_of_the_farm_is_played_again(told: Any) -> None:
    lost = told["loses"]
    assert len(set(lost["episodes"])) == 2
    assert lost["rewards"] == [0.0, 0.0, 1.0]  # what was called before was called again
    assert lost["seen"][1] == "<tool_response>\nMakefile\n\n</tool_response>"


def test_and_raised_in_the_end_never_0(told: Any) -> None:
    assert told["unlucky"]["error"] in ("FarmFailed", "Gone", "EpisodeFailed", "NullReward")


def test_group_mates_are_one_group_and_nothing_stays_open(told: Any, farm: SyncFarm) -> None:
    assert len(set(told["groups"])) == 2
    assert told["dropped"] == "cancelled"
    for name in ("solves", "says", "loses", "long"):
        for episode in told[name]["episodes"]:
            assert farm.attach(episode).inner.view.state in ("scored", "failed", "cancelled")


def test_the_snippet_runs(skyrl: Trainer) -> None:
    assert skyrl.snippet("skyrl-gym.md").strip().splitlines()[-1] == "0.0 True"
