"""Every terminal task that is shipped: the solution earns the full mark, doing nothing and wrong solutions earn 0."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from envfarm.orchestrator import policies
from envfarm.orchestrator.play import Player
from envfarm.orchestrator.schemas.episodes import Call
from envfarm.tasks.registry import Registry, samples
from envfarm.tasks.spec import Task

TASKS = Registry([samples() / "terminal"])
AT_ONCE = 3


@pytest.mark.parametrize("id", TASKS.ids())
async def test_only_the_solution_is_rewarded(id: str, player: Player) -> None:
    task = TASKS.get(id)
    await player.images.agent(task)
    room = asyncio.Semaphore(AT_ONCE)

    async def play(calls: Sequence[Call]) -> tuple[float | None, str]:
        async with room:
            played = await player.play(task, calls)
        logs = [
            player.artifacts.get(digest).decode() for name, digest in played.reward.evidence.items() if "log" in name
        ]
        return played.reward.value, f"{played.reward} {''.join(logs)[-3000:]}"

    wrong = policies.wrong(task)
    assert len(wrong) >= 2
    policy = {"solution": policies.oracle(task), "nothing": policies.noop(task), **wrong}
    rewards = dict(zip(policy, await asyncio.gather(*(play(calls) for calls in policy.values())), strict=True))
    for name, (value, evidence) in rewards.items():
        assert value == (1.0 if name == "solution" else 0.0), f"{name}: {evidence}"


def test_their_harness_is_one_and_the_same() -> None:
    tests = [task.path / "tests" for task in TASKS]
    assert len({(folder / "harness.py").read_bytes() for folder in tests}) == 1
    assert len({(folder / "test.sh").read_bytes() for folder in tests}) == 1


@pytest.mark.parametrize("id", TASKS.ids())
def test_each_says_what_it_is(id: str) -> None:
    task: Task = TASKS.get(id)
    assert task.config.task.name == f"envfarm/{id}"
    assert task.config.task.description
    assert len(task.config.task.keywords) >= 2
    assert task.config.environment.network_mode == "no-network"
