"""verifiers: `vf-eval` with its own chat loop, a scripted model and our toolset plays a real task on the farm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from envfarm.trainers.client import SyncFarm

from .conftest import ROOT, TASK, Trainer

pytestmark = pytest.mark.timeout(900)
SOLUTION = (ROOT / "tasks/samples" / TASK / "solution/solve.sh").read_text()


@pytest.fixture(scope="module")
def verifiers(trainer: Callable[[str], Trainer]) -> Trainer:
    return trainer("verifiers")


@pytest.fixture(scope="module")
def told(verifiers: Trainer) -> Any:
    return verifiers.play("verifiers_play.py", SOLUTION, "3")


def tools_of(trace: Any) -> list[str]:
    return [node["message"]["content"] for node in trace["nodes"] if node["message"]["role"] == "tool"]


def test_the_farms_reward_is_the_rollouts(told: Any) -> None:
    solved, idle, _ = told["traces"]
    assert solved["rewards"]["farm"]["score"] == 1.0
    assert solved["stop_condition"] == "ended"
    assert solved["metrics"]["farm/builds_at_the_first_try"] == 1.0
    assert idle["rewards"]["farm"]["score"] == 0.0
    assert solved["nodes"][0]["message"]["content"].startswith("# My Makefile")


def test_the_tools_are_the_episodes(told: Any) -> None:
    assert told["tools"] == [["bash", "str_replace", "finish"]] * 3
    [misspelt] = tools_of(told["traces"][1])
    assert "did you mean `command`" in misspelt


def test_a_fault_of_the_farm_is_an_error_and_no_reward(told: Any) -> None:
    lost = told["traces"][2]
    assert not lost["ok"]
    assert lost["rewards"]["farm"] is None
    assert "the farm failed episode" in lost["errors"][-1]["message"]
    assert tools_of(lost) == ["begun\n"]  # nothing of it was said to the model


def test_the_rollouts_are_one_group_and_closed(told: Any, farm: SyncFarm) -> None:
    async def all_of() -> list[Any]:
        return [one async for one in farm.inner.client.episodes()]

    episodes = [one for one in farm.loop.run(all_of()) if one["group_id"] is not None]
    assert len({one["group_id"] for one in episodes[:3]}) == 1
    assert sorted(one["rollout_index"] for one in episodes[:3]) == [0, 1, 2]
    assert {one["state"] for one in episodes[:3]} <= {"scored", "failed", "cancelled"}


def test_the_snippet_runs(verifiers: Trainer) -> None:
    assert TASK in verifiers.snippet("verifiers.md")
