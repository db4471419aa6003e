"""Episodes over HTTP, from creation to reward."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

Api = Any  # conftest.Api; tests are no package
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


async def test_from_creation_to_reward(api: Api) -> None:
    [episode] = await api.create()
    assert episode["state"] in ("queued", "starting", "running")
    assert episode["messages"] == [{"role": "user", "content": "Write 1 into /mark (toy/one).\n"}]
    assert [tool["function"]["name"] for tool in episode["tools"]] == ["bash", "finish"]
    id = episode["id"]
    assert (await api.get(f"/v1/episodes/{id}?wait=10")).json["state"] == "running"
    step = await api.step(id, "echo 1 > /mark", "cat /mark")
    assert step.status == 200
    assert [(result["id"], result["exit_code"], result["is_error"]) for result in step.json["results"]] == [
        ("c0", 0, False),
        ("c1", 0, False),
    ]
    assert "1" in step.json["results"][1]["content"]
    assert step.json["reward"] is None
    calls = [{"name": "finish", "arguments": "{}"}]
    last = await api.post(f"/v1/episodes/{id}/steps", {"step_id": "s2", "calls": calls})
    assert (last.json["terminated"], last.json["truncated"]) == (True, False)
    reward = await api.get(f"/v1/episodes/{id}/reward?wait=10")
    assert reward.status == 200
    assert (reward.json["status"], reward.json["value"], reward.json["parts"]) == ("done", 1.0, {"mark": 1.0})
    assert (await api.get(f"/v1/artifacts/{reward.json['evidence']['mark']}")).data == b"1\n"
    kept = (await api.get(f"/v1/episodes/{id}/artifacts?limit=1")).json
    more = (await api.get(f"/v1/episodes/{id}/artifacts?cursor={kept['next']}")).json
    assert [one["name"] for one in kept["items"] + more["items"]] == ["reward/mark", "saved/mark"]
    assert {one["digest"] for one in kept["items"] + more["items"]} == {reward.json["evidence"]["mark"]}
    assert more["next"] is None
    ended = (await api.get(f"/v1/episodes/{id}")).json
    assert ended["state"] == "scored"
    assert ended["reward"]["value"] == 1.0


async def test_creation_does_not_wait_for_a_sandbox(api: Api, backend: Any) -> None:
    backend.start_seconds = 3600
    [episode] = await api.create()
    waited = await api.get(f"/v1/episodes/{episode['id']}?wait=0.05")
    assert waited.json["state"] == "queued"


async def test_a_group(api: Api) -> None:
    episodes = await api.create(n=3, group_id="g", policy_version="v7")
    assert [(one["group_id"], one["rollout_index"], one["policy_version"]) for one in episodes] == [
        ("g", 0, "v7"),
        ("g", 1, "v7"),
        ("g", 2, "v7"),
    ]
    assert len({one["id"] for one in episodes}) == 3


async def test_a_task_of_a_dataset_by_index_and_seed(api: Api) -> None:
    async def task(**which: Any) -> str:
        answer = await api.post("/v1/episodes", {"dataset": "toy", **which})
        return str(answer.json["episodes"][0]["task"])

    assert [await task(index=n) for n in (0, 1)] == ["toy/one", "toy/two"]
    assert await task(seed=5) == await task(seed=5)
    assert await task(index=0, split="train") == "toy/one"
    beyond = await api.post("/v1/episodes", {"dataset": "toy", "index": 2})
    assert (beyond.status, beyond.error["type"]) == (404, "not_found")


async def test_a_repeated_creation_with_a_key_makes_nothing_new(api: Api) -> None:
    async def create(body: dict[str, Any]) -> Any:
        return await api.post("/v1/episodes", body, headers={"Idempotency-Key": "k"})

    first, second = await asyncio.gather(*(create({"task_id": "toy/one", "n": 2}) for _ in range(2)))
    assert [one["id"] for one in first.json["episodes"]] == [one["id"] for one in second.json["episodes"]]
    other = await create({"task_id": "toy/two"})
    assert (other.status, other.error["type"]) == (409, "conflict")
    assert len((await api.get("/v1/episodes")).json["items"]) == 2


async def test_episodes_are_listed_newest_first_in_pages(api: Api) -> None:
    ids = [(await api.create(run=run))[0]["id"] for run in ("a", "a", "b", "a")]
    first = (await api.get("/v1/episodes?limit=3")).json
    assert [one["id"] for one in first["items"]] == ids[:0:-1]
    second = (await api.get("/v1/episodes", params={"limit": 3, "cursor": first["next"]})).json
    assert ([one["id"] for one in second["items"]], second["next"]) == (ids[:1], None)
    of_run = (await api.get("/v1/episodes?run=b")).json["items"]
    assert [one["id"] for one in of_run] == [ids[2]]
    await api.post(f"/v1/episodes/{ids[0]}/cancel")
    assert [one["id"] for one in (await api.get("/v1/episodes?state=cancelled")).json["items"]] == [ids[0]]


async def test_the_run_comes_from_body_or_header(api: Api) -> None:
    [by_body] = await api.create(run="r1")
    by_header = await api.post("/v1/episodes", {"task_id": "toy/one"}, headers={"X-Run-Id": "r2"})
    [by_default] = await api.create()
    assert [by_body["run"], by_header.json["episodes"][0]["run"], by_default["run"]] == ["r1", "r2", "default"]


async def test_finish_scores_and_abort_does_not(api: Api) -> None:
    finished, aborted = await api.running(), await api.running()
    answer = await api.post(f"/v1/episodes/{finished}/finish", {"reason": "length"})
    assert (answer.status, answer.json["truncated"]) == (202, True)
    assert (await api.get(f"/v1/episodes/{finished}/reward?wait=10")).json["value"] == 0.0
    await api.post(f"/v1/episodes/{aborted}/finish", {"reason": "abort"})
    reward = (await api.get(f"/v1/episodes/{aborted}/reward?wait=10")).json
    assert (reward["status"], reward["value"]) == ("invalid", None)
    assert (await api.post(f"/v1/episodes/{finished}/finish")).status == 202  # again, without a body


async def test_a_reward_is_pending_until_it_is_there(api: Api) -> None:
    id = await api.running()
    reward = (await api.get(f"/v1/episodes/{id}/reward?wait=0.01")).json
    assert (reward["status"], reward["value"]) == ("pending", None)


async def test_suspend_and_resume(api: Api) -> None:
    id = await api.running()
    suspended = await api.post(f"/v1/episodes/{id}/suspend", {"ttl_s": 60})
    assert suspended.json["suspended_until"] == suspended.json["lease_expires_at"]
    refused = await api.post(f"/v1/episodes/{id}/suspend", {"ttl_s": -1})
    assert (refused.status, "ttl_s" in refused.json["error"]["message"]) == (400, True)
    step = {"step_id": "1", "calls": []}
    assert (await api.post(f"/v1/episodes/{id}/steps", step)).status == 409
    resumed = await api.post(f"/v1/episodes/{id}/resume", {"policy_version": "step-9"})
    assert (resumed.json["suspended_until"], resumed.json["policy_version"]) == (None, "step-9")
    assert (await api.post(f"/v1/episodes/{id}/steps", step)).status == 200


async def test_cancel_and_delete(api: Api, backend: Any) -> None:
    id = await api.running()
    assert (await api.post(f"/v1/episodes/{id}/cancel")).json["state"] == "cancelled"
    gone = await api.step(id, "true")
    assert (gone.status, gone.error["type"], gone.error["episode"]) == (410, "gone", id)
    deleted = await api("DELETE", f"/v1/episodes/{id}")
    assert (deleted.status, deleted.data) == (204, b"")
    assert (await api("DELETE", f"/v1/episodes/{id}")).status == 204  # its answer may have been lost
    missing = await api.get(f"/v1/episodes/{id}")
    assert (missing.status, missing.error["type"]) == (404, "not_found")
    async with asyncio.timeout(10):
        while backend.sandboxes:  # noqa: ASYNC110 - given back in the background
            await asyncio.sleep(0.01)
