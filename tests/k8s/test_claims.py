"""Claims: several servers reach for the same warm pods, and each pod goes to one of them."""

from __future__ import annotations

import asyncio

import pytest

from envfarm.k8s.backend import KubernetesBackend
from envfarm.toolbox.errors import SandboxLost
from envfarm.toolbox.prepare import start_prepared
from envfarm.toolbox.sandboxes.base import WARM, Sandbox, SandboxSpec
from envfarm.toolbox.toolbox import Toolbox

from .conftest import Open


async def warm(backend: KubernetesBackend, spec: SandboxSpec, owner: str, count: int = 1) -> list[Sandbox]:
    return await asyncio.gather(*(start_prepared(backend, spec, owner=owner, lease=WARM) for _ in range(count)))


async def test_two_servers_race_for_the_same_pods(open_backend: Open, spec: SandboxSpec) -> None:
    third, one, other = open_backend(), open_backend(), open_backend()
    offered = await warm(third, spec, "third", 4)
    for backend in (one, other):
        await backend.open()
    wanted = [
        backend.take(spec, owner=owner, lease=f"{owner}-{number}")
        for number in range(4)
        for backend, owner in ((one, "one"), (other, "other"))
    ]
    own = [third.claim(sandbox, owner="third", lease="own") for sandbox in offered[:1]]
    got = await asyncio.gather(*own, *wanted)
    ids = [one.id for one in got[1:] if one is not None and not isinstance(one, bool)]
    ids += [offered[0].id] * (got[0] is True)
    assert len(ids) == len(set(ids))
    assert set(ids) <= {sandbox.id for sandbox in offered}
    found = [info for owner in ("one", "other", "third") for info in await third.find(owner)]
    assert sorted(info.id for info in found) == sorted(sandbox.id for sandbox in offered)


async def test_a_pod_that_another_server_took_is_lost_and_lives_on(open_backend: Open, spec: SandboxSpec) -> None:
    giver, taker = open_backend(), open_backend()
    spec = spec.model_copy(update={"setup": "echo once >>/setup", "session": "agent"})
    [given] = await warm(giver, spec, "giver")
    taken = await start_prepared(taker, spec, owner="taker", lease="episode")
    assert taken.id == given.id
    with pytest.raises(SandboxLost) as error:
        await given.run("true")
    assert error.value.cause == "claimed"
    await given.close()
    assert await giver.reap("giver", keep=()) == []
    assert not await giver.claim(given, owner="giver", lease="late")
    assert (await taken.run("cat /setup; pwd", session="agent")).stdout == b"once\n/\n"
    assert [(info.id, info.lease) for info in await taker.find("taker")] == [(taken.id, "episode")]


async def test_a_warm_pod_that_another_server_took_is_not_removed_with_what_was_known_before(
    open_backend: Open, spec: SandboxSpec
) -> None:
    giver, taker = open_backend(), open_backend()
    [given] = await warm(giver, spec, "giver")
    before = giver.pods.get(given.id)
    assert before is not None
    taken = await start_prepared(taker, spec, owner="taker", lease="episode")
    assert taken.id == given.id
    await giver.remove(before)
    assert (await taken.run("echo here")).stdout == b"here\n"


async def test_a_killed_servers_warm_pods_are_its_pools_again(open_backend: Open, spec: SandboxSpec) -> None:
    spec = spec.model_copy(update={"session": "agent"})
    killed, anew = open_backend(), open_backend()
    [left] = await warm(killed, spec, "same")
    assert await killed.take(spec, owner="same", lease=WARM) is None  # it holds that one
    [info] = await anew.find("same")
    assert (info.id, info.warm) == (left.id, True)
    [taken] = await warm(anew, spec, "same")
    assert taken.id == left.id
    assert await anew.claim(taken, owner="same", lease="episode")
    assert (await taken.run("echo here", session="agent")).stdout == b"here\n"


async def test_only_what_is_warm_and_alike_is_taken(open_backend: Open, spec: SandboxSpec) -> None:
    giver, taker = open_backend(), open_backend()
    await giver.start(spec, owner="giver", lease="episode")
    [given] = await warm(giver, spec, "giver")
    assert await taker.take(spec.model_copy(update={"workdir": "/tmp"}), owner="taker", lease="x") is None
    assert await giver.take(spec, owner="giver", lease="x") is None  # its own it has in its pool
    assert await giver.claim(given, owner="giver", lease="episode")
    assert await taker.take(spec, owner="taker", lease="x") is None


async def test_a_claimed_pod_gets_its_deadline(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    [sandbox] = await warm(backend, spec, "tests")
    path = f"{backend.path}/{sandbox.id}"
    assert "activeDeadlineSeconds" not in (await backend.api.request("GET", path))["spec"]
    assert await backend.claim(sandbox, owner="tests", lease="episode")
    seconds = (await backend.api.request("GET", path))["spec"]["activeDeadlineSeconds"]
    assert 0 <= seconds - backend.config.deadline_seconds < 300


async def test_a_claim_whose_answer_was_lost_is_still_ours(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    [sandbox] = await warm(backend, spec, "tests")
    before = backend.pods.get(sandbox.id)
    assert before is not None
    assert await backend.claims.claim(before, owner="tests", lease="episode")
    again = await backend.claims.claim(before, owner="tests", lease="episode")  # as one that is sent again
    assert again is not None
    assert await backend.claims.claim(before, owner="tests", lease="another") is None


async def test_the_toolbox_goes_on_with_the_next_one(open_backend: Open, spec: SandboxSpec) -> None:
    backend, thief = open_backend(), open_backend()
    toolbox = Toolbox(backend, owner="tests", capacity=4, queue=4, starts=4)
    toolbox.prewarm(spec, 2)
    while toolbox.stats().warm < 2:  # noqa: ASYNC110 - it says so by numbers alone
        await asyncio.sleep(0.05)
    stolen = await thief.take(spec, owner="thief", lease="x")
    assert stolen is not None
    one, other = [await toolbox.lease(spec, lease=f"episode-{number}") for number in range(2)]
    assert len({stolen.id, one.id, other.id}) == 3
    for sandbox in (stolen, one, other):
        assert (await sandbox.run("echo fine")).stdout == b"fine\n"
    assert len(list(backend.pods)) <= 5  # never more than the capacity and the one that was stolen
    for sandbox in (one, other):
        await toolbox.release(sandbox)
    await toolbox.close()
    await stolen.close()
