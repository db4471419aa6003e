"""The allocator, through its public door, over the simulated back end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from envfarm.toolbox.errors import BackendUnavailable, FarmFull, SandboxStartError
from envfarm.toolbox.quota import SourceQuota
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend
from envfarm.toolbox.toolbox import Toolbox

A = SandboxSpec(image="a")
B = SandboxSpec(image="b")

Make = Callable[..., Toolbox]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes toolboxes and closes them; each must end with no sandbox but those still leased."""
    made: list[Toolbox] = []

    def build(backend: SimulatedBackend, **options: Any) -> Toolbox:
        options = {"capacity": 4, "queue": 100, "tick": 0.01} | options
        made.append(Toolbox(backend, owner="test", **options))
        return made[-1]

    yield build
    for toolbox in made:
        await toolbox.close()
        assert isinstance(toolbox.backend, SimulatedBackend)
        assert len(toolbox.backend.sandboxes) == toolbox.stats().leased + toolbox.stats().scoring


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the toolbox has no event to wait for, on purpose
            await asyncio.sleep(0.005)


def ask(toolbox: Toolbox, lease: str, spec: SandboxSpec = A, **options: Any) -> asyncio.Task[Sandbox]:
    return asyncio.create_task(toolbox.lease(spec, lease=lease, **options))


async def test_a_lease_is_a_sandbox_of_the_spec_and_is_gone_after_release(make: Make) -> None:
    backend = SimulatedBackend()
    toolbox = make(backend)
    sandbox = await toolbox.lease(A, lease="one")
    assert sandbox.spec == A
    assert [(info.owner, info.lease) for info in await backend.find("test")] == [("test", "one")]
    await toolbox.release(sandbox)
    assert backend.sandboxes == {}


async def test_a_spec_asked_for_twice_is_kept_warm_and_refilled(make: Make) -> None:
    backend = SimulatedBackend()
    toolbox = make(backend, capacity=10, warm=2)
    first = await toolbox.lease(A, lease="1")
    await asyncio.sleep(0.05)
    assert toolbox.stats().warm == 0  # once may be the only time
    second = await toolbox.lease(A, lease="2")
    await until(lambda: toolbox.stats().warm == 2)
    third = await toolbox.lease(A, lease="3")
    assert toolbox.stats().warm_hits == 1
    assert toolbox.stats().cold_starts == 2
    await until(lambda: toolbox.stats().warm == 2)
    assert len({first.id, second.id, third.id}) == 3


async def test_prewarm_fills_a_pool_before_anyone_asks(make: Make) -> None:
    toolbox = make(SimulatedBackend())
    toolbox.prewarm(A, 3)
    await until(lambda: toolbox.stats().warm == 3)
    await toolbox.lease(A, lease="1")
    assert toolbox.stats().warm_hits == 1


async def test_never_over_capacity(make: Make) -> None:
    backend = SimulatedBackend(start_seconds=0.001)
    toolbox = make(backend, capacity=5, reserve=2, warm=3)

    async def episode(n: int) -> None:
        if n % 7 == 0:
            async with toolbox.fresh(random.choice([A, B])):
                await asyncio.sleep(random.random() / 200)
            return
        sandbox = await toolbox.lease(random.choice([A, B]), lease=str(n), run=str(n % 3))
        await asyncio.sleep(random.random() / 200)
        await toolbox.release(sandbox)

    await asyncio.gather(*(episode(n) for n in range(200)))
    assert backend.most <= 7
    assert toolbox.stats().queued == toolbox.stats().leased == toolbox.stats().scoring == 0


async def test_warm_sandboxes_make_room_for_another_spec(make: Make) -> None:
    backend = SimulatedBackend()
    toolbox = make(backend, capacity=3)
    toolbox.prewarm(A, 3)
    await until(lambda: toolbox.stats().warm == 3)
    sandboxes = [await toolbox.lease(B, lease=str(n)) for n in range(3)]
    assert [sandbox.spec for sandbox in sandboxes] == [B, B, B]
    assert backend.most == 3


async def test_an_unused_spec_is_no_longer_kept_warm(make: Make) -> None:
    toolbox = make(SimulatedBackend(), idle_seconds=0.1)
    toolbox.prewarm(A, 2)
    await until(lambda: toolbox.stats().warm == 2)
    await until(lambda: toolbox.stats().warm == 0)


async def test_dead_warm_sandboxes_are_replaced_before_anyone_gets_them(make: Make) -> None:
    backend = SimulatedBackend()
    toolbox = make(backend, probe_seconds=0.02)
    toolbox.prewarm(A, 2)
    await until(lambda: toolbox.stats().warm == 2)
    dead = set(backend.sandboxes)
    for sandbox_id in dead:
        backend.lose(sandbox_id)
    await until(lambda: toolbox.stats().dead_warm == 2 and toolbox.stats().warm == 2)
    assert dead.isdisjoint(backend.sandboxes)


async def test_a_sandbox_that_died_in_the_pool_is_never_handed_out(make: Make) -> None:
    backend = SimulatedBackend()
    toolbox = make(backend, probe_seconds=1000)
    toolbox.prewarm(A, 2)
    await until(lambda: toolbox.stats().warm == 2)
    for sandbox_id in list(backend.sandboxes):
        backend.lose(sandbox_id)
    sandbox = await toolbox.lease(A, lease="1")
    assert (await sandbox.run("echo lives")).stdout == b"lives\n"
    assert toolbox.stats().dead_warm == 2


async def test_a_failed_start_is_the_callers_and_frees_its_place(make: Make) -> None:
    backend = SimulatedBackend()
    toolbox = make(backend, capacity=1)
    backend.failures.append(SandboxStartError("no"))
    with pytest.raises(SandboxStartError, match="no"):
        await toolbox.lease(A, lease="1")
    assert (await toolbox.lease(A, lease="2")).spec == A
    assert toolbox.stats().start_failures == 1


async def test_pool_failures_are_backed_off(make: Make) -> None:
    backend = SimulatedBackend()
    backend.failures = [SandboxStartError("no")] * 1000
    toolbox = make(backend)
    toolbox.prewarm(A, 4)
    await asyncio.sleep(0.3)
    assert backend.started <= 12  # four at once, then a pause of half a second and more; a hot loop makes hundreds


async def test_a_pool_fills_again_after_failures(make: Make) -> None:
    backend = SimulatedBackend()
    backend.failures = [SandboxStartError("no")]
    toolbox = make(backend)
    toolbox.prewarm(A, 1)
    await until(lambda: toolbox.stats().warm == 1)
    assert backend.started == 2


async def test_a_run_has_no_more_than_its_quota_and_others_go_on(make: Make) -> None:
    toolbox = make(SimulatedBackend())
    toolbox.set_run("small", max_concurrent=1)
    first = await toolbox.lease(A, lease="1", run="small")
    second = ask(toolbox, "2", run="small")
    other = await toolbox.lease(A, lease="3", run="other")
    assert other.spec == A
    assert not second.done()
    await toolbox.release(first)
    assert (await second).spec == A


async def test_a_raised_quota_serves_those_who_wait(make: Make) -> None:
    toolbox = make(SimulatedBackend())
    toolbox.set_run("small", max_concurrent=1)
    await toolbox.lease(A, lease="1", run="small")
    second = ask(toolbox, "2", run="small")
    await asyncio.sleep(0.01)
    toolbox.set_run("small", max_concurrent=2)
    await second


async def order_served(toolbox: Toolbox, tasks: dict[str, asyncio.Task[Sandbox]]) -> list[str]:
    """The names of waiting leases in the order they are served, one at a time."""
    order = []
    while tasks:
        done, _ = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        for name in [name for name, task in tasks.items() if task in done]:
            order.append(name)
            await toolbox.release(tasks.pop(name).result())
    return order


async def test_a_run_of_higher_priority_comes_first_also_when_it_waits_already(make: Make) -> None:
    toolbox = make(SimulatedBackend(), capacity=1)
    toolbox.set_run("vip", priority=5)
    holder = await toolbox.lease(A, lease="0")
    runs = {"late 1": "late", "plain": "plain", "late 2": "late", "vip": "vip", "low": "low"}
    tasks = {name: ask(toolbox, name, run=run) for name, run in runs.items()}
    await asyncio.sleep(0.01)
    toolbox.set_run("late", priority=9)
    toolbox.set_run("low", priority=-1)
    await toolbox.release(holder)
    assert await order_served(toolbox, tasks) == ["late 1", "late 2", "vip", "plain", "low"]


async def test_group_mates_are_served_together_and_runs_are_fair(make: Make) -> None:
    toolbox = make(SimulatedBackend(), capacity=1)
    holder = await toolbox.lease(A, lease="0", run="x")
    names = ["x-g1-0", "x-g2-0", "y-h1-0", "x-g1-1", "y-h1-1", "x-g2-1"]
    tasks = {}
    for name in names:
        tasks[name] = ask(toolbox, name, run=name[0], group=name[:4])
        await asyncio.sleep(0)
    await toolbox.release(holder)
    assert await order_served(toolbox, tasks) == ["y-h1-0", "y-h1-1", "x-g1-0", "x-g1-1", "x-g2-0", "x-g2-1"]


async def test_the_run_with_fewest_sandboxes_comes_first(make: Make) -> None:
    toolbox = make(SimulatedBackend(), capacity=3)
    held = [await toolbox.lease(A, lease=str(n), run="big") for n in range(3)]
    tasks = {name: ask(toolbox, name, run=name[:-1]) for name in ("big1", "big2", "small1", "small2")}
    await asyncio.sleep(0.01)
    await toolbox.release(held[0])
    await until(lambda: tasks["small1"].done())
    assert not any(tasks[name].done() for name in ("big1", "big2", "small2"))
    for task in tasks.values():
        task.cancel()


async def test_a_full_queue_answers_at_once_and_says_when_to_come_again(make: Make) -> None:
    toolbox = make(SimulatedBackend(), capacity=1, queue=1)
    await toolbox.lease(A, lease="1")
    waiting = ask(toolbox, "2")
    await asyncio.sleep(0.01)
    with pytest.raises(FarmFull, match="1 of 1 waiting places") as caught:
        await toolbox.lease(A, lease="3")
    assert 1 <= caught.value.retry_after <= 60
    with pytest.raises(FarmFull):
        toolbox.admit("default")
    toolbox.admit("another run has places of its own")
    waiting.cancel()


async def test_admit_counts_free_places(make: Make) -> None:
    toolbox = make(SimulatedBackend(), capacity=2, queue=1)
    toolbox.admit("default", 3)
    with pytest.raises(FarmFull):
        toolbox.admit("default", 4)
    toolbox.set_run("default", max_concurrent=1)
    with pytest.raises(FarmFull):
        toolbox.admit("default", 3)


async def test_a_lease_that_takes_too_long_is_full_and_leaves_the_queue(make: Make) -> None:
    toolbox = make(SimulatedBackend(), capacity=1)
    await toolbox.lease(A, lease="1")
    with pytest.raises(FarmFull, match=r"within 0\.02 s"):
        await toolbox.lease(A, lease="2", timeout=0.02)
    assert toolbox.stats().queued == 0


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.01])
async def test_cancelled_callers_leak_nothing(make: Make, seconds: float) -> None:
    backend = SimulatedBackend(start_seconds=0.002)
    toolbox = make(backend, capacity=3, warm=1)

    async def impatient(n: int) -> None:
        task = ask(toolbox, str(n), random.choice([A, B]))
        await asyncio.sleep(random.random() * seconds)
        task.cancel()
        try:
            await toolbox.release(await task)
        except asyncio.CancelledError:
            return

    for round_ in range(20):
        await asyncio.gather(*(impatient(round_ * 10 + n) for n in range(10)))
    await until(lambda: toolbox.stats().starting == toolbox.stats().ending == 0)
    stats = toolbox.stats()
    assert stats.leased == stats.queued == 0
    assert len(backend.sandboxes) == stats.warm <= 3
    got = await asyncio.gather(*(toolbox.lease(A, lease=str(n)) for n in range(3)))  # every slot can be had again
    assert len(got) == 3


async def test_the_sandbox_of_a_cancelled_caller_serves_the_next(make: Make) -> None:
    backend = SimulatedBackend(start_seconds=0.02)
    toolbox = make(backend)
    first = ask(toolbox, "1")
    await asyncio.sleep(0.01)
    first.cancel()
    await until(lambda: toolbox.stats().warm == 1)
    await toolbox.lease(A, lease="2")
    assert backend.started == 1


async def test_fresh_sandboxes_for_scoring_come_when_the_farm_is_full(make: Make) -> None:
    backend = SimulatedBackend()
    toolbox = make(backend, capacity=1, reserve=1)
    held = await toolbox.lease(A, lease="1")
    waiting = ask(toolbox, "2")
    async with toolbox.fresh(A) as sandbox:
        assert sandbox.id != held.id
        assert (await sandbox.run("echo fresh")).stdout == b"fresh\n"
        assert not waiting.done()
    assert set(backend.sandboxes) == {held.id}
    waiting.cancel()


async def test_scoring_waits_for_its_reserve_and_is_served_before_leases(make: Make) -> None:
    toolbox = make(SimulatedBackend(), capacity=1, reserve=1)
    held = await toolbox.lease(A, lease="1")
    lease = ask(toolbox, "2")
    order = []

    async def score(name: str) -> None:
        async with toolbox.fresh(A):
            order.append(name)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(score(str(n)) for n in range(4)))
    assert order == ["0", "1", "2", "3"]
    assert not lease.done()
    await toolbox.release(held)
    await lease


async def test_fresh_uses_a_warm_sandbox_and_ends_it_when_the_block_fails(make: Make) -> None:
    backend = SimulatedBackend()
    toolbox = make(backend)
    toolbox.prewarm(A, 1)
    await until(lambda: toolbox.stats().warm == 1)
    used = ""

    async def score() -> None:
        nonlocal used
        async with toolbox.fresh(A) as sandbox:
            used = sandbox.id
            raise ValueError("scoring broke")

    with pytest.raises(ValueError, match="scoring broke"):
        await score()
    assert toolbox.stats().warm_hits == 1
    assert used not in backend.sandboxes


async def test_adopted_sandboxes_count(make: Make) -> None:
    backend = SimulatedBackend()
    found = await backend.start(A, owner="test", lease="before")
    toolbox = make(backend, capacity=1)
    toolbox.adopt(found, run="r")
    assert toolbox.stats().leased == 1
    waiting = ask(toolbox, "2")
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await toolbox.release(found)
    await waiting


async def test_what_another_server_goes_on_with_counts_no_more_and_lives(make: Make) -> None:
    backend = SimulatedBackend()
    toolbox = make(backend, capacity=1)
    handed_on = await toolbox.lease(A, lease="1")
    waiting = ask(toolbox, "2")
    toolbox.forget(handed_on)
    await waiting
    assert handed_on.id in backend.sandboxes
    assert toolbox.stats().leased == 1
    await handed_on.close()


async def test_a_sandbox_that_cannot_be_ended_keeps_its_slot_until_it_can(make: Make) -> None:
    backend = SimulatedBackend()
    toolbox = make(backend, capacity=1)
    sandbox = await toolbox.lease(A, lease="1")
    backend.close_failures.extend([BackendUnavailable("engine away")] * 3)
    await toolbox.release(sandbox)
    assert len(backend.sandboxes) == 1
    await toolbox.lease(A, lease="2")
    assert backend.most == 1


async def test_throttle_spreads_calls_over_time_by_run_and_tool(make: Make) -> None:
    toolbox = make(SimulatedBackend())
    toolbox.set_run("r", qps={"search": 20})
    waits = await asyncio.gather(*(toolbox.throttle("r", "search") for _ in range(40)))
    assert waits == sorted(waits)
    assert waits[19] == 0  # a second's worth at once
    assert 0.5 < waits[-1] <= 1
    assert await toolbox.throttle("r", "bash") == 0
    assert await toolbox.throttle("other", "search") == 0
    assert toolbox.stats().throttled == sum(wait > 0 for wait in waits)


async def test_throttle_refuses_what_would_wait_too_long(make: Make) -> None:
    toolbox = make(SimulatedBackend(), max_throttle=0.0)
    toolbox.set_run("r", qps={"search": 0.5})
    assert await toolbox.throttle("r", "search") == 0
    with pytest.raises(FarmFull, match=r"run r: its 0.5 calls of search per second") as caught:
        await toolbox.throttle("r", "search")
    assert 1 < caught.value.retry_after <= 2
    toolbox.set_run("r", qps={})
    assert await toolbox.throttle("r", "search") == 0


async def test_close_refuses_those_who_wait_and_leaves_what_is_leased(make: Make) -> None:
    backend = SimulatedBackend()
    toolbox = make(backend, capacity=2)
    held = await toolbox.lease(A, lease="1")
    await toolbox.lease(A, lease="2")
    waiting = ask(toolbox, "3")
    await asyncio.sleep(0.01)
    await toolbox.close()
    with pytest.raises(BackendUnavailable, match="shutting down"):
        await waiting
    with pytest.raises(BackendUnavailable, match="shutting down"):
        await toolbox.lease(A, lease="4")
    assert held.id in backend.sandboxes


async def test_close_during_starts_leaves_nothing_behind(make: Make) -> None:
    backend = SimulatedBackend(start_seconds=3600)
    toolbox = make(backend)
    toolbox.prewarm(B, 2)
    waiting = ask(toolbox, "1")
    await asyncio.sleep(0.01)
    await toolbox.close()
    with pytest.raises(BackendUnavailable):
        await waiting
    assert backend.sandboxes == {}


async def test_a_source_has_quotas_of_its_own_within_the_runs(make: Make) -> None:
    toolbox = make(SimulatedBackend(), capacity=8)
    sources = {"swe": SourceQuota(max_concurrent=1), "web": SourceQuota(max_concurrent=5)}
    toolbox.set_run("r", max_concurrent=3, sources=sources)
    first = await toolbox.lease(A, lease="1", run="r", source="swe")
    second = ask(toolbox, "2", run="r", source="swe")
    others = [await toolbox.lease(A, lease=f"w{n}", run="r", source=source) for n, source in enumerate(("web", "any"))]
    third = ask(toolbox, "3", run="r", source="web")
    elsewhere = await toolbox.lease(A, lease="e", run="other", source="swe")
    await until(lambda: toolbox.stats().queued == 2)  # one is over its source's quota, one over the run's
    await toolbox.release(others.pop())
    others.append(await third)
    assert not second.done()
    await toolbox.release(first)
    for one in (await second, elsewhere, *others):
        await toolbox.release(one)
    assert toolbox.stats().leased == 0


async def test_a_source_may_come_first_and_loses_its_quota_when_it_is_dropped(make: Make) -> None:
    toolbox = make(SimulatedBackend(), capacity=1)
    toolbox.set_run("r", sources={"late": SourceQuota(), "soon": SourceQuota(max_concurrent=1, priority=5)})
    held = await toolbox.lease(A, lease="0", run="r")
    late, soon = ask(toolbox, "1", run="r", source="late"), ask(toolbox, "2", run="r", source="soon")
    await until(lambda: toolbox.stats().queued == 2)
    await toolbox.release(held)
    kept = await soon
    with pytest.raises(FarmFull, match="run r soon: it may have 0 more sandboxes, and 1 are asked for"):
        await toolbox.fork(kept, ["twin"], run="r", source="soon")
    toolbox.set_run("r")
    await toolbox.release(kept)
    await toolbox.release(await late)
    await toolbox.release(await toolbox.lease(A, lease="3", run="r", source="soon"))


async def test_a_source_has_waiting_places_of_its_own(make: Make) -> None:
    toolbox = make(SimulatedBackend(), capacity=1, queue=1)
    toolbox.set_run("r", sources={"swe": SourceQuota(max_concurrent=1)})
    held = await toolbox.lease(A, lease="0", run="r", source="swe")
    waiting = ask(toolbox, "1", run="r", source="swe")
    await until(lambda: toolbox.stats().queued == 1)
    with pytest.raises(FarmFull, match="run r swe: 1 of 1 waiting places are taken"):
        toolbox.admit("r", source="swe")
    toolbox.admit("r", source="web")
    await toolbox.release(held)
    await toolbox.release(await waiting)
