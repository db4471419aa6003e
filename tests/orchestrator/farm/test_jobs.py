"""Scoring jobs: faults of the farm are tried again, then null; never 0."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from envfarm.envs.base import Reward, ScoreContext
from envfarm.orchestrator.farm import jobs
from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.schemas.episodes import Call, EpisodeLimits, EpisodeRequest, FinishRequest, StepRequest
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import SandboxLost, SandboxStartError, StorageError
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_PAUSE", 0.01)


async def ready_to_score(farm: Farm) -> str:
    id = (await farm.create(EpisodeRequest(task_id="toy/one")))[0].id
    call = Call(name="bash", arguments={"command": "echo 1 > /mark"})
    await farm.step(id, StepRequest(step_id="s", calls=[call]))
    return id


async def test_a_fault_in_scoring_is_tried_again(farm: Farm, toy: Any) -> None:
    id = await ready_to_score(farm)
    toy.faults += [SandboxStartError("no room"), SandboxLost("gone", cause="killed")]
    await farm.finish(id, FinishRequest())
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value) == ("done", 1.0)
    assert toy.scored == 3


async def test_faults_without_end_give_null_and_the_reason(farm: Farm, toy: Any) -> None:
    id = await ready_to_score(farm)
    toy.faults += [SandboxStartError("no room") for _ in range(9)]
    await farm.finish(id, FinishRequest())
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value) == ("error", None)
    assert "3 attempts: no room" in (reward.reason or "")
    assert toy.scored == 3
    assert "mark" in reward.evidence


async def test_a_bug_in_an_environment_is_no_zero(farm: Farm, toy: Any) -> None:
    id = await ready_to_score(farm)
    toy.faults += [KeyError("oops")]
    await farm.finish(id, FinishRequest())
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value) == ("error", None)
    assert "KeyError" in (reward.reason or "")
    assert (await farm.episode(id)).state == "failed"


async def test_a_sandbox_lost_before_anything_was_saved_is_no_zero(farm: Farm, backend: SimulatedBackend) -> None:
    id = await ready_to_score(farm)
    backend.sandboxes.clear()
    await farm.finish(id, FinishRequest())
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value) == ("error", None)
    assert (await farm.episode(id)).state == "failed"


async def test_a_reward_waits_for_a_database_that_is_away(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    id = await ready_to_score(farm)
    apply = farm.store._batch.apply
    calls = 0

    def shaky(*arguments: Any) -> int:
        nonlocal calls
        calls += 1
        if 1 < calls < 6:
            raise OSError("the database is away")
        return apply(*arguments)

    monkeypatch.setattr(farm.store._batch, "apply", shaky)
    await farm.finish(id, FinishRequest())
    assert (await farm.reward(id, wait=20)).value == 1.0


async def test_a_reward_that_the_environment_voids_is_invalid(
    farm: Farm, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def void(self: object, task: Task, context: ScoreContext) -> Reward:
        return Reward(value=None, reason="a canary came out wrong", evidence=context.saved)

    monkeypatch.setattr(toy, "score", void)
    id = await ready_to_score(farm)
    await farm.finish(id, FinishRequest())
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value, reward.reason) == ("invalid", None, "a canary came out wrong")
    assert reward.evidence


@pytest.mark.parametrize("needs", [True, False])
async def test_the_sandbox_is_kept_until_it_is_no_longer_needed(
    farm: Farm, toy: Any, backend: SimulatedBackend, monkeypatch: pytest.MonkeyPatch, needs: bool
) -> None:
    at_scoring: list[int] = []
    score = toy.score

    async def seen(self: Any, task: Task, context: ScoreContext) -> Reward:
        assert (context.sandbox is not None) is needs
        await asyncio.sleep(0.05)
        at_scoring.append(len(backend.sandboxes))
        result: Reward = await score(self, task, context)
        return result

    monkeypatch.setattr(toy, "score", seen)
    monkeypatch.setattr(toy, "needs_sandbox", lambda self, task: needs)
    id = await ready_to_score(farm)
    await farm.finish(id, FinishRequest())
    assert (await farm.reward(id, wait=10)).value == 1.0
    assert at_scoring == [1 if needs else 0]
    await asyncio.sleep(0.05)
    assert backend.sandboxes == {}


async def test_a_dead_sandbox_is_not_offered_again(
    farm: Farm, toy: Any, backend: SimulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def shared(self: Any, task: Task, context: ScoreContext) -> Reward:
        if context.sandbox is not None:
            backend.lose(context.sandbox.id)
            await context.sandbox.run("true")
        return Reward(value=1.0)

    monkeypatch.setattr(toy, "score", shared)
    monkeypatch.setattr(toy, "needs_sandbox", lambda self, task: True)
    id = await ready_to_score(farm)
    await farm.finish(id, FinishRequest())
    assert (await farm.reward(id, wait=10)).value == 1.0


async def test_a_reward_waits_for_a_disk_that_is_full(farm: Farm, tmp_path: Path) -> None:
    id = await ready_to_score(farm)
    place = tmp_path / "artifacts"
    if place.exists():
        shutil.rmtree(place)
    place.touch()  # nothing can be put where a file is in the way
    await farm.finish(id, FinishRequest())
    reward = await farm.reward(id, wait=0.5)
    assert (reward.status, (await farm.episode(id)).state) == ("pending", "scoring")
    place.unlink()
    assert (await farm.reward(id, wait=10)).value == 1.0


async def test_a_step_whose_output_found_no_room_gives_it_when_sent_again(farm: Farm, tmp_path: Path) -> None:
    id = (await farm.create(EpisodeRequest(task_id="toy/one", limits=EpisodeLimits(output_limit=1024))))[0].id
    request = StepRequest(step_id="s", calls=[Call(name="bash", arguments={"command": f"echo {'x' * 5000}"})])
    (tmp_path / "artifacts").touch()
    with pytest.raises(StorageError):
        await farm.step(id, request)
    (tmp_path / "artifacts").unlink()
    view = await farm.step(id, request)
    assert view is not None
    assert farm.core.artifacts.get(view.results[0].artifacts["stdout"]) == b"x" * 5000 + b"\n"
