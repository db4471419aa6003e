"""Runs over HTTP: quotas, rewards, leases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from envfarm.orchestrator.farm.farm import Farm

Api = Any
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


async def test_quotas_are_set_and_read(api: Api) -> None:
    quotas = {"max_concurrent": 2, "qps": {"bash": 5.0}, "priority": 3, "lease_s": 30.0, "limits": {"max_turns": 7}}
    put = await api("PUT", "/v1/runs/r", quotas)
    assert put.status == 200
    got = (await api.get("/v1/runs/r")).json
    assert got == put.json
    assert {key: got[key] for key in ("max_concurrent", "qps", "priority", "lease_s")} == {
        key: quotas[key] for key in ("max_concurrent", "qps", "priority", "lease_s")
    }
    [episode] = await api.create(run="r")
    assert episode["limits"]["max_turns"] == 7
    assert (await api.get("/v1/runs/r")).json["episodes"].keys() <= {"queued", "starting", "running"}


async def test_a_run_over_its_quota_waits_and_goes_on(api: Api) -> None:
    await api("PUT", "/v1/runs/r", {"max_concurrent": 1})
    first = await api.running(run="r")
    [second] = await api.create(run="r")
    assert (await api.get(f"/v1/episodes/{second['id']}?wait=0.05")).json["state"] == "queued"
    await api.post(f"/v1/episodes/{first}/cancel")
    assert (await api.get(f"/v1/episodes/{second['id']}?wait=10")).json["state"] == "running"


async def test_a_source_has_quotas_and_limits_within_its_run(api: Api) -> None:
    sources = {"toy": {"max_concurrent": 1, "priority": 2, "limits": {"max_turns": 3}}}
    put = await api("PUT", "/v1/runs/r", {"limits": {"max_turns": 7, "max_errors": 2}, "sources": sources})
    assert put.json["sources"]["toy"]["max_concurrent"] == 1
    first = await api.running(run="r")
    [second] = await api.create(run="r")
    assert (second["limits"]["max_turns"], second["limits"]["max_errors"]) == (3, 2)
    assert (await api.get(f"/v1/episodes/{second['id']}?wait=0.05")).json["state"] == "queued"
    await api.post(f"/v1/episodes/{first}/cancel")
    assert (await api.get(f"/v1/episodes/{second['id']}?wait=10")).json["state"] == "running"


async def test_a_rate_limit_answers_429_when_its_turn_is_too_far_away(serve: Any, farm: Farm) -> None:
    farm.toolbox.max_throttle = 0.0
    api = await serve(farm)
    await api("PUT", "/v1/runs/r", {"qps": {"bash": 0.1}})
    id = await api.running(run="r")
    assert (await api.step(id, "true")).status == 200
    throttled = await api.step(id, "true", step_id="s2")
    assert (throttled.status, throttled.error["type"], throttled.error["episode"]) == (429, "quota", id)
    assert 1 <= int(throttled.headers["Retry-After"]) <= 10


async def test_rewards_come_in_order_after_a_cursor(api: Api) -> None:
    async def score(run: str) -> str:
        id = str(await api.running(run=run))
        await api.post(f"/v1/episodes/{id}/finish")
        await api.get(f"/v1/episodes/{id}/reward?wait=10")
        return id

    ids = [await score("r"), await score("other"), await score("r")]
    everything = (await api.get("/v1/rewards")).json
    assert [reward["episode"] for reward in everything["items"]] == ids
    first = (await api.get("/v1/rewards?run=r&limit=1")).json
    assert [reward["episode"] for reward in first["items"]] == ids[:1]
    second = (await api.get(f"/v1/rewards?run=r&after={first['next']}")).json
    assert [reward["episode"] for reward in second["items"]] == ids[2:]
    nothing = (await api.get(f"/v1/rewards?run=r&after={second['next']}&wait=0.01")).json
    assert nothing == {"items": [], "next": second["next"]}


async def test_rewards_can_be_waited_for(api: Api) -> None:
    id = await api.running()
    waiting = asyncio.create_task(api.get("/v1/rewards?wait=10"))
    await asyncio.sleep(0.02)
    await api.post(f"/v1/episodes/{id}/finish")
    assert [reward["episode"] for reward in (await waiting).json["items"]] == [id]


async def test_a_heartbeat_keeps_a_runs_episodes(serve: Any, open_farm: Any) -> None:
    api = await serve(await open_farm(lease_seconds=2.0))
    kept, left = await api.running(run="r"), await api.running(run="other")
    for _ in range(12):
        await asyncio.sleep(0.25)
        renewed = (await api.post("/v1/leases:renew", {"run": "r"})).json
        assert renewed["renewed"] == [kept]
    assert (await api.post("/v1/leases:renew", {"ids": [kept, left]})).json["gone"] == [left]
    expired = (await api.get(f"/v1/episodes/{left}/reward?wait=10")).json
    assert (expired["status"], expired["value"]) == ("invalid", None)
    assert (await api.step(left, "true")).status == 410


async def test_stats_by_task(api: Api) -> None:
    for mark, policy in (("1", "v1"), ("0", "v1"), ("1", "v2")):
        id = await api.running(policy_version=policy)
        await api.step(id, f"echo {mark} > /mark")
        await api.post(f"/v1/episodes/{id}/finish")
        await api.get(f"/v1/episodes/{id}/reward?wait=10")
    cancelled = await api.running()
    await api.post(f"/v1/episodes/{cancelled}/cancel")
    [stats] = (await api.get("/v1/stats/tasks?dataset=toy")).json["items"]
    assert (stats["task"], stats["attempts"], stats["passes"]) == ("toy/one", 3, 2)
    assert stats["mean"] == pytest.approx(2 / 3)
    assert stats["by_policy_version"]["v1"] == {"attempts": 2, "passes": 1, "mean": 0.5}
    assert (await api.get("/v1/stats/tasks?dataset=none")).json["items"] == []


async def test_tasks_are_drawn_by_how_they_went(api: Api) -> None:
    request = {"n": 50, "dataset": "toy", "pass_rate": [0.5, 1], "seed": 1}
    before = (await api.post("/v1/sample", request)).json
    assert {(one["attempts"], one["pass_rate"]) for one in before["items"]} == {(0, None)}
    assert before["candidates"] == before["tasks"] == len(before["items"])
    id = await api.running(run="r")
    await api.post(f"/v1/episodes/{id}/finish")  # nothing was done: 0
    await api.get(f"/v1/episodes/{id}/reward?wait=10")
    after = (await api.post("/v1/sample", request)).json
    assert {one["task"] for one in before["items"]} - {one["task"] for one in after["items"]} == {"toy/one"}
    assert after["candidates"] == after["tasks"] - 1
    assert (await api.post("/v1/sample", {**request, "run": "other"})).json == before
    wrong = await api.post("/v1/sample", {**request, "pass_rate": [1, 0]})
    assert (wrong.status, "lower bound first" in wrong.error["message"]) == (400, True)
