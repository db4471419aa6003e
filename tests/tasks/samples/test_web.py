"""Every web task that is shipped: its solution does all, each mutant lacks something, nothing earns nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import get_args

import pytest

from envfarm.envs.base import Reward
from envfarm.envs.web.grade import OUTCOMES
from envfarm.orchestrator import policies
from envfarm.orchestrator.play import Player
from envfarm.tasks.page import Category, load_page
from envfarm.tasks.registry import Registry, samples
from envfarm.tasks.spec import Task

TASKS = Registry([samples() / "web"])


Solve = Callable[[str], Awaitable[tuple[Task, Reward]]]


@pytest.fixture
def solve(player: Player, image: Callable[[str], str]) -> Solve:
    """Plays a task's solution."""

    async def solve(id: str) -> tuple[Task, Reward]:
        image("renderer")
        task = TASKS.get(id)
        await player.images.agent(task)
        return task, (await player.play(task, policies.oracle(task))).reward

    return solve


@pytest.mark.parametrize("id", TASKS.ids())
async def test_its_solution_does_all_and_a_mutant_does_not(id: str, solve: Solve, player: Player) -> None:
    task, reward = await solve(id)
    assert (reward.value, reward.parts) == (1.0, {"executable": 1.0, "functional": 1.0}), reward
    assert {"video.webm", "contact.png", "mobile.jpg", "trace.json", "result.json"} <= set(reward.evidence)
    await _lacks(next(iter(policies.wrong(task))), task, player)
    assert (await player.play(task, policies.noop(task))).reward.value == 0.0


@pytest.mark.soak
@pytest.mark.parametrize("id", TASKS.ids())
async def test_each_mutant_lacks_something_and_each_frame_comes_again(id: str, solve: Solve, player: Player) -> None:
    (task, one), (_, two) = await solve(id), await solve(id)
    assert one.evidence["digests.txt"] == two.evidence["digests.txt"]
    for name in policies.wrong(task):
        await _lacks(name, task, player)


async def _lacks(name: str, task: Task, player: Player) -> None:
    mutant = (await player.play(task, policies.wrong(task)[name])).reward
    assert mutant.value is not None
    assert mutant.value <= task.config.envfarm.wrong_mark, f"{name}: {mutant}"
    assert OUTCOMES["timed_out"] not in (mutant.reason or ""), f"{name}: {mutant}"  # that would be this machine's doing


@pytest.mark.parametrize("id", TASKS.ids())
def test_each_says_what_it_is(id: str) -> None:
    task = TASKS.get(id)
    page = load_page(task.path)
    assert task.config.task.name == f"envfarm/{id}"
    assert task.config.task.description
    assert task.config.environment.network_mode == "no-network"
    assert page.assertions >= 5
    assert all(step.target is None or step.target.role or step.target.label or step.target.css for step in page.steps)
    assert len(page.leaves) >= 3
    assert len(policies.wrong(task)) >= 2


def test_there_are_two_of_each_category() -> None:
    assert Counter(load_page(task.path).category for task in TASKS) == dict.fromkeys(get_args(Category), 2)
