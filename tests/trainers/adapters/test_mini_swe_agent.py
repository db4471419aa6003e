"""mini-swe-agent's own loop, with a scripted model, plays real tasks in the farm's sandboxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from envfarm.trainers.client import SyncFarm

from .conftest import ROOT, TASK, Trainer

SOLUTION = (ROOT / "tasks/samples" / TASK / "solution/solve.sh").read_text()
SWE = "swe/parse-1.20.2"
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
Play = Callable[..., Any]


@pytest.fixture(scope="module")
def mini(trainer: Callable[[str], Trainer]) -> Trainer:
    return trainer("mini-swe-agent")


@pytest.fixture(scope="module")
def play(mini: Trainer) -> Play:
    def run(*commands: str, task: str = TASK, **asked: Any) -> Any:
        return mini.play("mini_swe_agent_play.py", json.dumps({"task": task, "commands": commands, **asked}))

    return run


def test_the_snippet_runs(mini: Trainer) -> None:
    assert mini.snippet("mini-swe-agent.md").strip().splitlines()[-1] == "Submitted 0.0"


def test_a_terminal_task_is_solved(play: Play) -> None:
    [told] = play("make", SOLUTION, f"{SUBMIT}; echo done")
    assert told["exit"] == {"exit_status": "Submitted", "submission": "done\n"}
    assert told["reward"] == ["done", 1.0]
    assert told["messages"][0]["content"] == "You are on Linux."
    assert "farm" not in json.dumps(told["about"]["config"]["environment"])  # the token
    assert told["about"]["episode"] == {"id": told["episode"], "task": TASK}


def test_a_repository_is_fixed(play: Play) -> None:
    patch = (ROOT / "tasks/samples" / SWE / "solution/fix.patch").read_text()
    fix = f"git apply --whitespace=nowarn - <<'EOF_OF_PATCH'\n{patch}\nEOF_OF_PATCH"
    [told] = play(fix, "git diff > /tmp/patch.txt", f"{SUBMIT} && cat /tmp/patch.txt", task=SWE)
    assert told["exit"]["submission"].startswith("diff --git")
    assert told["reward"] == ["done", 1.0]


def test_each_command_has_a_shell_of_its_own(play: Play) -> None:
    commands = ["cd /tmp; export A=1; pwd", "pwd; echo $A-$B", "echo out; echo err >&2; exit 3", "exit 4", "true"]
    [told] = play(*commands, SUBMIT, config={"cwd": "/usr", "env": {"B": "it's"}})
    seen = [(one["extra"]["raw_output"], one["extra"]["returncode"]) for one in told["messages"][2:-1]]
    assert seen == [("/tmp\n", 0), ("/usr\n-it's\n", 0), ("out\nerr\n", 3), ("", 4), ("", 0)]


def test_what_takes_too_long_is_said_to_the_agent(play: Play) -> None:
    [told] = play("echo begun; sleep 60", SUBMIT, config={"timeout": 1})
    late = told["messages"][2]["extra"]
    assert (late["raw_output"], late["returncode"]) == ("begun\n", -1)
    assert late["exception_info"].startswith("timed out after 1 s")


def test_a_marker_counts_only_where_the_command_went_well(play: Play) -> None:
    [told] = play(f"{SUBMIT}; false", f"echo first; {SUBMIT}", SUBMIT)
    assert len(told["messages"]) == 2 + 2 + 1
    assert told["exit"]["exit_status"] == "Submitted"


def test_a_group_and_a_limit(play: Play) -> None:
    told = play("true", "true", SUBMIT, n=2, limits={"max_turns": 2})
    assert [one["exit"]["exit_status"] for one in told] == ["LimitsExceeded"] * 2
    assert [one["reward"] for one in told] == [["done", 0.0]] * 2


def test_a_fault_of_the_farm_ends_the_loop_and_is_no_zero(play: Play) -> None:
    [told] = play("echo begun", "lose", SUBMIT)
    assert told["error"] in ("FarmFailed", "Gone")
    assert told["reward"] == ["error", None]
    roles = [one["role"] for one in told["messages"]]
    assert roles == ["system", "user", "user", "exit"]  # nothing of it was said to the model


def test_what_was_not_finished_is_closed(play: Play, farm: SyncFarm) -> None:
    [told] = play("true", SUBMIT, steps=1, reward=False)
    assert told["exit"]["exit_status"] == "LimitsExceeded"  # the agent's own
    assert farm.attach(told["episode"]).inner.view.state == "cancelled"
