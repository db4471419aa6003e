"""TRL: a real GRPOTrainer, on the CPU, trains on a real task; its installation is large (`make test-trainers`)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envfarm.toolbox.tools.bash import Bash
from envfarm.toolbox.tools.finish import Finish
from envfarm.toolbox.tools.formats import describe
from envfarm.toolbox.tools.str_replace import StrReplace

from .conftest import ROOT, TASK, Trainer

pytestmark = [pytest.mark.trainers, pytest.mark.timeout(1800)]
SOLUTION = (ROOT / "tasks/samples" / TASK / "solution/solve.sh").read_text()


@pytest.fixture(scope="module")
def trl(trainer: Callable[[str], Trainer]) -> Trainer:
    return trainer("trl")


@pytest.fixture(scope="module")
def told(trl: Trainer) -> Any:
    return trl.play("trl_play.py", TASK, SOLUTION)


def test_a_fault_of_the_farm_is_left_out_of_the_batch(told: Any) -> None:
    assert told["rewards"][:4] == [1.0, 0.0, None, 0.0]
    assert told["rewards"][4:] == [0.0] * 4
    assert told["logs"] == [pytest.approx(1 / 3, abs=1e-3), 0.0]
    assert told["moved"]


def test_nothing_of_the_fault_is_said_to_the_model(told: Any) -> None:
    [prompt] = told["lost"]
    answers = prompt.split("<tool_response>\n")
    assert answers[-1].startswith("[the episode is over]\n</tool_response>")


def test_a_call_after_the_end_is_answered(told: Any) -> None:
    [prompt] = told["late"]
    assert prompt.rpartition("<tool_response>\n")[2].startswith("[the episode is over]")


def test_the_model_reads_the_task(told: Any) -> None:
    assert "mktokens.sh" in told["last"]["3"]


def test_a_step_has_one_group_and_leaves_nothing_open(told: Any) -> None:
    first, second = set(told["groups"][:4]), set(told["groups"][4:])
    assert len(first) == len(second) == 1
    assert first != second
    assert told["places"] == [0, 1, 2, 3] * 2
    assert set(told["states"]) <= {"scored", "failed", "cancelled"}


def test_the_tools_are_described_as_the_farm_does(told: Any) -> None:
    for tool in describe([Bash(), StrReplace(), Finish()]):
        ours, theirs = tool["function"], told["schemas"][tool["function"]["name"]]
        assert theirs["description"] == ours["description"]
        assert set(theirs["parameters"]["properties"]) == set(ours["parameters"]["properties"])
        assert theirs["parameters"].get("required", []) == ours["parameters"]["required"]


def test_the_snippet_runs(trl: Trainer) -> None:
    trl.run(Path(__file__).with_name("tiny.py"), trl.folder / "tiny")
    here = {"Qwen/Qwen3-0.6B": str(trl.folder / "tiny"), "max_steps=1": "max_steps=1, use_cpu=True, bf16=False"}
    assert "train_loss" in trl.snippet("trl.md", **here)


def test_the_example_is_one_command(trl: Trainer) -> None:
    trl.run(Path(__file__).with_name("tiny.py"), trl.folder / "tiny")
    chosen = ["--model", "tiny", "--tasks", TASK, "--steps", "1", "--generations", "2", "--tokens", "512", "--cpu"]
    command = [ROOT / "scripts/example.sh", "trl", ROOT / "examples/grpo_terminal.py", *chosen]
    subprocess.run(command, cwd=trl.folder, stdin=subprocess.DEVNULL, check=True)
    assert (trl.folder / "grpo-terminal/model.safetensors").is_file()
