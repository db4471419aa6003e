"""Steps over HTTP: once each, in order, alone or in batches."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

Api = Any
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


async def test_a_replayed_step_is_answered_and_not_run_again(api: Api) -> None:
    id = await api.running()
    first = await api.step(id, "cat /count", "echo again > /count")
    second = await api.step(id, "cat /count", "echo again > /count")
    assert first.json["results"][0]["exit_code"] == 1
    assert second.json == first.json
    other = await api.step(id, "echo other")
    assert (other.status, other.error["type"]) == (409, "conflict")


async def test_duplicates_in_flight_are_joined(api: Api, backend: Any) -> None:
    id = await api.running()
    backend.latency = 0.1
    answers = await asyncio.gather(*(api.step(id, "cat /x", "echo > /x") for _ in range(3)))
    assert {answer.status for answer in answers} == {200}
    assert answers[0].json == answers[1].json == answers[2].json
    assert answers[0].json["results"][0]["exit_code"] == 1  # the file was not there: none of them ran twice


async def test_a_wrong_turn_is_refused_with_the_right_one(api: Api) -> None:
    id = await api.running()
    assert (await api.step(id, "true", turn=0)).status == 200
    wrong = await api.step(id, "true", step_id="s2", turn=0)
    assert wrong.status == 409
    assert "turn 1" in wrong.error["message"]
    assert (await api.step(id, "true", step_id="s2", turn=1)).json["turn"] == 1


async def test_arguments_as_text_and_as_object(api: Api) -> None:
    id = await api.running()
    calls = [
        {"name": "bash", "arguments": '{"command": "echo text"}'},
        {"name": "bash", "arguments": {"command": "echo object"}},
        {"name": "bash", "arguments": '{"command": '},
        {"name": "nope"},
    ]
    results = (await api.post(f"/v1/episodes/{id}/steps", {"step_id": "s", "calls": calls})).json["results"]
    assert [result["is_error"] for result in results] == [False, False, True, True]
    assert "text" in results[0]["content"]
    assert "object" in results[1]["content"]


async def test_a_long_step_is_polled(api: Api, backend: Any) -> None:
    id = await api.running()
    backend.latency = 0.2
    sent = await api.step(id, "echo slow", step_id="a/b", wait=0.01)
    assert (sent.status, sent.json) == (202, {"step_id": "a/b", "status": "running"})
    place = f"/v1/episodes/{id}/steps/a%2Fb"
    assert (await api.get(place)).status == 202
    done = await api.get(f"{place}?wait=10")
    assert (done.status, done.json["results"][0]["exit_code"]) == (200, 0)
    assert (await api.get(f"/v1/episodes/{id}/steps/other")).status == 404


async def test_recorded_steps_are_paged_in_order(api: Api) -> None:
    id = await api.running()
    for n in range(3):
        await api.step(id, f"echo {n}", step_id=f"s{n}", turn=n)
    page = (await api.get(f"/v1/episodes/{id}/steps?limit=2")).json
    assert [(one["step_id"], one["turn"]) for one in page["items"]] == [("s0", 0), ("s1", 1)]
    assert page["items"][0]["calls"] == [{"id": "c0", "name": "bash", "arguments": {"command": "echo 0"}}]
    assert "0" in page["items"][0]["results"][0]["content"]
    rest = (await api.get(f"/v1/episodes/{id}/steps", params={"cursor": page["next"]})).json
    assert ([one["step_id"] for one in rest["items"]], rest["next"]) == (["s2"], None)


async def test_a_batch_answers_each_step_for_itself(api: Api, backend: Any) -> None:
    one, two = await api.running(), await api.running()
    gone = await api.running()
    await api.post(f"/v1/episodes/{gone}/cancel")

    def step(id: str, step_id: str, command: str, **more: Any) -> dict[str, Any]:
        calls = [{"name": "bash", "arguments": {"command": command}}]
        return {"episode": id, "step_id": step_id, "calls": calls, **more}

    steps = [
        step(one, "a", "echo first > /f"),
        step(two, "a", "cat /f"),
        step(gone, "a", "true"),
        step(one, "b", "cat /f"),
        step("ep-none", "a", "true"),
    ]
    answer = await api.post("/v1/batch:steps", {"steps": steps})
    assert answer.status == 200
    results = answer.json["results"]
    assert [result["episode"] for result in results] == [one, two, gone, one, "ep-none"]
    assert [result["step"]["results"][0]["exit_code"] for result in (results[0], results[1], results[3])] == [0, 1, 0]
    assert [results[n]["error"]["type"] for n in (2, 4)] == ["gone", "not_found"]
    backend.latency = 0.2
    slow = await api.post("/v1/batch:steps", {"steps": [step(one, "c", "true", wait=0.01), step(two, "c", "true")]})
    assert slow.json["results"][0]["pending"] == {"step_id": "c", "status": "running"}
    assert slow.json["results"][1]["step"]["turn"] == 1


async def test_a_lost_sandbox_is_a_fault_of_the_farm(api: Api, backend: Any) -> None:
    id = await api.running()
    await api.step(id, "true", step_id="first")
    for sandbox_id in list(backend.sandboxes):
        backend.lose(sandbox_id)
    answer = await api.step(id, "true")
    assert (answer.status, answer.error["type"]) == (503, "infra_error")
    reward = (await api.get(f"/v1/episodes/{id}/reward?wait=10")).json
    assert (reward["status"], reward["value"]) == ("error", None)
    assert "lost" in reward["reason"]
