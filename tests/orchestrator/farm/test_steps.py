"""Steps: once each, in order, within their limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from envfarm.orchestrator.errors import StoreError
from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.schemas.episodes import Call, EpisodeLimits, EpisodeRequest, FinishRequest, StepRequest
from envfarm.orchestrator.schemas.runs import RunRequest
from envfarm.orchestrator.store import tables
from envfarm.toolbox.errors import BackendUnavailable, Conflict, FarmFull, Gone, NotFound, SandboxLost
from envfarm.toolbox.sandboxes.base import ExecResult
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend, SimulatedSandbox


def bash(*commands: str, step_id: str = "s", **more: Any) -> StepRequest:
    calls = [Call(name="bash", arguments={"command": command}) for command in commands]
    return StepRequest(step_id=step_id, calls=calls, **more)


def finish(step_id: str = "end", **arguments: str) -> StepRequest:
    return StepRequest(step_id=step_id, calls=[Call(name="finish", arguments=dict(arguments))])


async def create(farm: Farm, **limits: Any) -> str:
    request = EpisodeRequest(task_id="toy/one", limits=EpisodeLimits(**limits))
    return (await farm.create(request))[0].id


async def running(farm: Farm, **limits: Any) -> str:
    id = await create(farm, **limits)
    assert (await farm.episode(id, wait=10)).state == "running"
    return id


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every command that reached a sandbox under a command id."""
    seen: list[str] = []
    run = SimulatedSandbox.run

    async def counted(self: SimulatedSandbox, command: str, **more: Any) -> ExecResult:
        if more.get("command_id"):
            seen.append(command)
        return await run(self, command, **more)

    monkeypatch.setattr(SimulatedSandbox, "run", counted)
    return seen


async def test_a_step_may_come_before_the_sandbox_is_there(farm: Farm, backend: SimulatedBackend) -> None:
    backend.start_seconds = 0.2
    id = await create(farm)
    assert (await farm.episode(id)).state in ("queued", "starting")
    step = await farm.step(id, bash("echo hi"))
    assert step is not None
    assert step.results[0].content == "hi\n"


async def test_the_calls_of_a_step_run_in_order_and_stop_after_finish(farm: Farm, commands: list[str]) -> None:
    id = await running(farm)
    calls = [
        Call(id="1", name="bash", arguments={"command": "echo a > /x"}),
        Call(id="2", name="bash", arguments='{"command": "cat /x"}'),
        Call(id="3", name="finish", arguments={}),
        Call(id="4", name="bash", arguments={"command": "echo never"}),
    ]
    step = await farm.step(id, StepRequest(step_id="s", calls=calls))
    assert step is not None
    assert [result.id for result in step.results] == ["1", "2", "3"]
    assert step.results[1].content == "a\n"
    assert (step.terminated, step.truncated, step.info.reason) == (True, False, "finish")
    assert not any("never" in command for command in commands)


async def test_a_step_sent_again_is_answered_from_the_store(farm: Farm, commands: list[str]) -> None:
    id = await running(farm)
    first = await farm.step(id, bash("echo 1"))
    assert await farm.step(id, bash("echo 1")) == first  # the last one
    await farm.step(id, bash("echo 2", step_id="t"))
    assert await farm.step(id, bash("echo 1")) == first  # an older one
    assert await farm.step_result(id, "s") == first
    assert len(commands) == 2
    assert (await farm.episode(id)).turn == 2


async def test_a_step_of_an_ended_episode_is_still_answered(farm: Farm) -> None:
    id = await running(farm)
    first = await farm.step(id, bash("echo 1"))
    await farm.step(id, finish())
    await farm.reward(id, wait=10)
    assert await farm.step(id, bash("echo 1")) == first
    assert await farm.step_result(id, "s") == first
    with pytest.raises(Conflict):
        await farm.step(id, bash("echo 2"))
    with pytest.raises(Gone, match="scored"):
        await farm.step(id, bash("echo 2", step_id="new"))
    with pytest.raises(NotFound):
        await farm.step_result(id, "none")


async def test_the_same_id_with_other_calls_is_a_conflict(farm: Farm) -> None:
    id = await running(farm)
    await farm.step(id, bash("echo 1"))
    with pytest.raises(Conflict, match="other calls"):
        await farm.step(id, bash("echo 2"))
    await farm.step(id, bash("echo 3", step_id="t"))
    with pytest.raises(Conflict, match="other calls"):
        await farm.step(id, bash("echo 2"))


async def test_a_duplicate_in_flight_joins(farm: Farm, backend: SimulatedBackend, commands: list[str]) -> None:
    id = await running(farm)
    backend.latency = 0.1
    answers = await asyncio.gather(*(farm.step(id, bash("echo 1")) for _ in range(5)))
    assert all(answer == answers[0] for answer in answers)
    assert len(commands) == 1
    backend.latency = 0.1
    with pytest.raises(Conflict, match="other calls"):
        await asyncio.gather(farm.step(id, bash("echo 1", step_id="t")), farm.step(id, bash("echo 2", step_id="t")))


async def test_a_wrong_turn_is_a_conflict_that_names_the_right_one(farm: Farm) -> None:
    id = await running(farm)
    await farm.step(id, bash("echo 1", turn=0))
    with pytest.raises(Conflict, match="at turn 1"):
        await farm.step(id, bash("echo 2", step_id="t", turn=0))
    assert await farm.step(id, bash("echo 2", step_id="t", turn=1)) is not None


async def test_another_step_while_one_runs_is_a_conflict(farm: Farm, backend: SimulatedBackend) -> None:
    id = await running(farm)
    backend.latency = 0.2
    first = asyncio.create_task(farm.step(id, bash("echo 1")))
    await asyncio.sleep(0.05)
    with pytest.raises(Conflict, match="has not ended"):
        await farm.step(id, bash("echo 2", step_id="t"))
    assert await first is not None


async def test_a_long_step_is_polled(farm: Farm, backend: SimulatedBackend) -> None:
    id = await running(farm)
    backend.latency = 0.3
    assert await farm.step(id, bash("echo 1", wait=0.01)) is None
    assert await farm.step_result(id, "s", wait=0.01) is None
    done = await farm.step_result(id, "s", wait=10)
    assert done is not None
    assert done.results[0].content == "1\n"


async def test_mistakes_of_the_model_do_not_end_the_episode(farm: Farm) -> None:
    id = await running(farm)
    calls = [
        Call(name="nonsense", arguments={}),
        Call(name="bash", arguments="{broken"),
        Call(name="bash", arguments={"cmd": "ls"}),
        Call(name="bash", arguments={"command": "false"}),
    ]
    step = await farm.step(id, StepRequest(step_id="s", calls=calls))
    assert step is not None
    assert [result.is_error for result in step.results] == [True, True, True, False]
    assert (await farm.episode(id)).state == "running"


async def test_a_turn_without_calls_counts(farm: Farm) -> None:
    id = await running(farm)
    step = await farm.step(id, StepRequest(step_id="s", calls=[]))
    assert step is not None
    assert step.results == []
    assert (await farm.episode(id)).turn == 1


async def test_what_a_text_column_cannot_hold_comes_back_as_it_was(farm: Farm) -> None:
    id = await running(farm)
    wild = StepRequest(step_id="s", calls=[Call(id="\0", name="ba\0sh", arguments={"command": "echo \0\udfff"})])
    first = await farm.step(id, wild)
    await farm.step(id, bash("echo 1", step_id="t"))
    assert await farm.step(id, wild) == first
    assert (await farm.step(id, finish(answer="nul \0"))) is not None
    assert (await farm.reward(id, wait=10)).status == "done"


@pytest.mark.parametrize(
    ("limits", "steps", "reason"),
    [
        ({"max_turns": 2}, ["echo 1", "echo 2"], "turns"),
        ({"max_output": 6}, ["echo 12", "echo 345"], "output"),
        ({"max_errors": 1}, ["echo 1", '"'], "errors"),
    ],
)
async def test_a_limit_reached_truncates_and_scores(
    farm: Farm, limits: dict[str, Any], steps: list[str], reason: str
) -> None:
    id = await running(farm, **limits)
    for number, command in enumerate(steps):
        name = "bash" if command != '"' else "unknown"
        request = StepRequest(step_id=f"s{number}", calls=[Call(name=name, arguments={"command": command})])
        step = await farm.step(id, request)
        assert step is not None
        last = number == len(steps) - 1
        assert (step.truncated, step.info.reason) == ((True, reason) if last else (False, None))
    reward = await farm.reward(id, wait=10)
    assert (reward.status, reward.value, reward.truncated) == ("done", 0.0, True)
    view = await farm.episode(id)
    assert (view.state, view.truncated, view.terminated, view.reason) == ("scored", True, False, reason)


async def test_an_episode_out_of_time_is_truncated(farm: Farm, commands: list[str]) -> None:
    id = await running(farm, timeout_s=0.3)
    await asyncio.sleep(0.4)
    step = await farm.step(id, bash("echo 1"))
    assert step is not None
    assert (step.truncated, step.info.reason, step.results) == (True, "time", [])
    assert commands == []
    assert (await farm.reward(id, wait=10)).status == "done"


async def test_a_call_gets_no_more_time_than_the_limits_leave(farm: Farm) -> None:
    id = await running(farm, step_timeout_s=2)
    step = await farm.step(id, bash("sleep 3"))
    assert step is not None
    assert step.results[0].timed_out
    assert not step.truncated
    step = await farm.step(id, bash("sleep 1", step_id="t", timeout_s=0.5))
    assert step is not None
    assert step.results[0].timed_out


async def test_a_lost_sandbox_fails_the_episode_and_is_no_result(farm: Farm, backend: SimulatedBackend) -> None:
    id = await running(farm)
    await farm.step(id, bash("echo 1"))
    backend.sandboxes.clear()
    with pytest.raises(SandboxLost):
        await farm.step(id, bash("echo 2", step_id="t"))
    view = await farm.episode(id)
    assert view.state == "failed"
    assert "lost (removed)" in (view.reason or "")
    reward = await farm.reward(id)
    assert (reward.status, reward.value) == ("error", None)
    with pytest.raises(Gone, match="lost"):
        await farm.step(id, bash("echo 2", step_id="t"))
    stats = await farm.stats()
    assert (stats.items[0].attempts, stats.items[0].invalid) == (0, 1)


async def test_a_sandbox_that_died_before_its_first_step_is_replaced(farm: Farm, backend: SimulatedBackend) -> None:
    id = await running(farm)
    backend.sandboxes.clear()
    step = await farm.step(id, bash("echo 1 > /mark; cat /mark"))
    assert step is not None
    assert step.results[0].content == "1\n"
    async for event in farm.events(after=0):
        if event.type == "pod.lost":
            assert event.data == {"cause": "removed"}
            break
    assert len(backend.sandboxes) == farm.toolbox.stats().leased == 1
    await farm.finish(id, FinishRequest())
    assert (await farm.reward(id, wait=10)).value == 1.0


async def test_a_sandbox_that_dies_again_and_again_is_not_replaced_for_ever(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[str] = []

    async def lost(self: SimulatedSandbox) -> SandboxLost:
        died.append(self.id)
        del self._backend.sandboxes[self.id]
        return self._gone()

    id = await running(farm)
    monkeypatch.setattr(SimulatedSandbox, "lost", lost)
    assert await farm.step(id, bash("true")) is not None  # in the last one, of which nobody asked
    assert len(died) == farm.core.settings.start_attempts - 1


async def test_a_fault_in_passing_is_raised_and_the_step_can_be_sent_again(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await running(farm)
    run = SimulatedSandbox.run
    faults = [BackendUnavailable("the engine is being restarted")]

    async def faulty(self: SimulatedSandbox, command: str, **more: Any) -> ExecResult:
        result = await run(self, command, **more)
        if faults:
            raise faults.pop()  # the command ran, its result was lost
        return result

    monkeypatch.setattr(SimulatedSandbox, "run", faulty)
    with pytest.raises(BackendUnavailable):
        await farm.step(id, bash("echo 1 > /x; cat /x"))
    with pytest.raises(Conflict, match="send it again"):
        await farm.step(id, bash("echo 2", step_id="t"))
    step = await farm.step(id, bash("echo 1 > /x; cat /x"))
    assert step is not None
    assert step.results[0].content == "1\n"
    assert (await farm.episode(id)).turn == 1


async def test_finish_does_not_wait_for_a_step_that_failed(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    id = await running(farm)

    async def faulty(self: SimulatedSandbox, command: str, **more: Any) -> ExecResult:
        raise BackendUnavailable("the engine is being restarted")

    with monkeypatch.context() as patch:
        patch.setattr(SimulatedSandbox, "run", faulty)
        with pytest.raises(BackendUnavailable):
            await farm.step(id, bash("true"))
    await farm.finish(id, FinishRequest())
    assert (await farm.reward(id, wait=10)).status == "done"


async def test_a_step_that_could_not_be_stored_is_not_run_again(
    farm: Farm, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await running(farm)
    apply = farm.store._batch.apply
    down = True

    def unreachable(*arguments: Any) -> int:
        if down:
            raise OSError("the database is away")
        return apply(*arguments)

    monkeypatch.setattr(farm.store._batch, "apply", unreachable)
    with pytest.raises(StoreError, match="the database is away"):
        await farm.step(id, bash("echo 1"))
    down = False
    step = await farm.step(id, bash("echo 1"))
    assert step is not None
    assert len(commands) == 1
    rows = await farm.store.rows(select(tables.steps))
    assert [(row.step_id, row.turn) for row in rows] == [("s", 0)]


async def test_finish_does_not_wait_for_ever_for_a_step_that_failed(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await running(farm)
    failing = asyncio.Event()

    async def faulty(*_: Any, **__: Any) -> Any:
        await failing.wait()
        raise BackendUnavailable("the engine is away")

    with monkeypatch.context() as patch:
        patch.setattr(SimulatedSandbox, "run", faulty)
        step = asyncio.create_task(farm.step(id, bash("true")))
        finish = asyncio.create_task(farm.finish(id, FinishRequest()))
        await asyncio.sleep(0.05)  # both are waiting now
        failing.set()
        with pytest.raises(BackendUnavailable):
            await step
        async with asyncio.timeout(10):
            await finish
    assert (await farm.reward(id, wait=10)).status == "done"


async def test_the_rate_of_a_tool_is_limited(farm: Farm) -> None:
    await farm.put_run("default", RunRequest(qps={"bash": 0.5}))
    id = await running(farm)
    for number in range(2):
        await farm.step(id, bash("true", step_id=f"s{number}"))
    events = []
    async for event in farm.events(after=0):
        events.append(event)
        if event.type == "step.finished" and event.data["step_id"] == "s1":
            break
    assert any(event.type == "quota.throttled" for event in events)


async def test_a_rate_far_exceeded_is_said_and_the_step_can_be_sent_again(farm: Farm) -> None:
    await farm.put_run("default", RunRequest(qps={"bash": 0.01}))
    id = await running(farm)
    await farm.step(id, bash("true", step_id="a"))
    with pytest.raises(FarmFull):
        await farm.step(id, bash("true", step_id="b"))
    await farm.put_run("default", RunRequest())
    assert await farm.step(id, bash("true", step_id="b")) is not None


async def test_unknown_episodes_and_steps(farm: Farm) -> None:
    with pytest.raises(NotFound, match="no episode 'ep-none'"):
        await farm.step("ep-none", bash("true"))
    id = await running(farm)
    with pytest.raises(NotFound, match="no step 'x'"):
        await farm.step_result(id, "x")
