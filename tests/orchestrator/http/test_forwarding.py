"""Servers that share a PostgreSQL: whichever is asked, the one that drives an episode answers."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from envfarm.orchestrator.http.forwarding import HOP
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import ForkUnsupported
from envfarm.trainers.client import Client

Join = Any  # conftest.Join; tests are no package
pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


async def until(ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
    """The first answer that holds: a server looks at the others once a second."""
    while not holds(answer := await ask()):  # noqa: ASYNC110 - a caller can only ask
        await asyncio.sleep(0.1)
    return answer


async def test_every_call_about_an_episode_goes_to_its_server(join: Join) -> None:
    (here, _), (_, there) = await join("here"), await join("there")
    _, own = await join("own")
    id = await own.running()
    step = await there.step(id, "echo 1 > /mark", "cat /mark")
    assert [result["content"] for result in step.json["results"]] == ["[no output]", "1\n"]
    assert (await there.step(id, "echo 1 > /mark", "cat /mark")).data == step.data
    assert (await there.step(id, "other")).status == 409
    view = await there.get(f"/v1/episodes/{id}")
    assert (view.json["turn"], view.json["lease_expires_at"] is not None) == (1, True)
    assert (await there.get(f"/v1/episodes/{id}/steps/s1?wait=1")).data == step.data
    assert len((await there.get(f"/v1/episodes/{id}/steps")).json["items"]) == 1
    fork = {"headers": {"Idempotency-Key": "k"}}
    [twin] = (await there.post(f"/v1/episodes/{id}/fork", {"n": 1}, **fork)).json["episodes"]
    [again] = (await own.post(f"/v1/episodes/{id}/fork", {"n": 1}, **fork)).json["episodes"]
    assert again["id"] == twin["id"]
    assert (await there.post(f"/v1/episodes/{twin['id']}/cancel")).json["state"] == "cancelled"
    finished = await there.post(f"/v1/episodes/{id}/finish", {})
    assert (finished.status, finished.json["state"]) == (202, "scoring")
    assert (await there.get(f"/v1/episodes/{id}/reward?wait=10")).json["value"] == 1.0
    deleted = await there("DELETE", f"/v1/episodes/{id}")
    assert (deleted.status, deleted.data) == (204, b"")
    assert here.counts() == {}


async def test_what_is_refused_there_is_refused_here(join: Join, backend: Any) -> None:
    (_, own), (_, there) = await join("own"), await join("there")
    id = await own.running()
    wrong = await there.post(f"/v1/episodes/{id}/steps", {"step_id": "s", "calls": [], "trun": 1})
    assert (wrong.status, wrong.error["message"]) == (400, "body: trun: no such field; did you mean turn?")
    backend.failures.append(ForkUnsupported("it cannot"))
    assert (await there.post(f"/v1/episodes/{id}/fork", {})).status == 501
    huge = await there.post(f"/v1/episodes/{id}/steps", io.BytesIO(b" " * (9 << 20)))
    assert (huge.status, huge.error["type"]) == (413, "too_large")
    await there.step(id, "true", step_id="first")
    backend.lose(next(iter(backend.sandboxes)))
    lost = await there.step(id, "true")
    assert (lost.status, lost.error["retryable"], lost.headers.get("Retry-After")) == (503, False, None)


async def test_tokens_are_checked_by_both(join: Join) -> None:
    tokens = {"tokens": ["all", "mine:r1", "others:r2"]}
    (_, own), (_, there) = await join("own", token="all", **tokens), await join("there", **tokens)
    id = await own.running(run="r1")
    seen = {}
    for token in ("all", "mine", "others", "none"):
        there.token = token
        seen[token] = (await there.step(id, "true")).status
    assert seen == {"all": 200, "mine": 200, "others": 404, "none": 401}


async def test_a_batch_is_split_among_the_servers(join: Join) -> None:
    (_, own), (_, there) = await join("own"), await join("there")
    ids = [await own.running(), await there.running(), await own.running()]

    def step(id: str, number: int) -> dict[str, Any]:
        calls = [{"id": "c", "name": "bash", "arguments": {"command": f"echo {number} >> /f; cat /f"}}]
        return {"episode": id, "step_id": f"s{number}", "calls": calls}

    steps = [step(ids[0], 1), step(ids[1], 2), step("none", 3), step(ids[2], 4), step(ids[0], 5)]
    results = (await there.post("/v1/batch:steps", {"steps": steps})).json["results"]
    assert [one["episode"] for one in results] == [one["episode"] for one in steps]
    assert results[2]["error"]["type"] == "not_found"
    assert [one["step"]["turn"] for one in results if one["episode"] != "none"] == [0, 0, 0, 1]


async def test_leases_are_renewed_on_all_servers(join: Join) -> None:
    (_, own), (_, there) = await join("own"), await join("there")
    ids = {await own.running(run="r"), await there.running(run="r")}
    await there.get("/v1/episodes")
    renewed = (await there.post("/v1/leases:renew", {"ids": [*ids, "none"]})).json
    assert (set(renewed["renewed"]), renewed["gone"]) == (ids, ["none"])
    await until(lambda: there.post("/v1/leases:renew", {"run": "r"}), lambda one: set(one.json["renewed"]) == ids)


async def test_long_polls_and_streams_pass_through(join: Join, backend: Any) -> None:
    (_, own), (_, there) = await join("own"), await join("there")
    id = await own.running()
    backend.latency = 0.3
    pending = await there.post(
        f"/v1/episodes/{id}/steps",
        {"step_id": "s", "calls": [{"name": "bash", "arguments": {"command": "true"}}], "wait": 0.05},
    )
    assert (pending.status, pending.headers["Location"]) == (202, f"/v1/episodes/{id}/steps/s")
    assert (await there.get(f"{pending.headers['Location']}?wait=10")).status == 200
    seen = []
    async with there.session.get(f"{there.url}/v1/events", headers={"Last-Event-ID": "0"}) as events:
        waiting = asyncio.create_task(there.post(f"/v1/episodes/{id}/finish", {}))
        async for line in events.content:
            if line.startswith(b"data: "):
                seen.append(json.loads(line[6:])["type"])
            if "reward.ready" in seen:
                break
    assert (await waiting).status == 202


async def test_an_artefact_comes_from_the_server_that_has_it(join: Join, tmp_path: Any) -> None:
    (holder, _), (other, there) = await join("own"), await join("there")
    other.artifacts = Artifacts(tmp_path / "elsewhere")
    data = bytes(range(256)) * 20_000  # more than is held in memory
    digest = holder.artifacts.put(data)
    whole = await until(lambda: there.get(f"/v1/artifacts/{digest}"), lambda answer: answer.status == 200)
    assert whole.data == data
    part = await there.get(f"/v1/artifacts/{digest}", headers={"Range": "bytes=6-9"})
    assert (part.status, part.data, part.headers["Content-Range"]) == (206, data[6:10], f"bytes 6-9/{len(data)}")
    assert (await there.get("/v1/artifacts/sha256:" + "0" * 64)).status == 404


async def test_a_server_that_is_away_costs_a_retry_and_no_step(join: Join) -> None:
    (farm, own), (_, there) = await join("own"), await join("there")
    id = await own.running()
    await there.step(id, "echo 1 > /mark")
    await own.runner.cleanup()  # nothing listens there, and the farm behind it lives
    away = await there.step(id, "cat /mark", step_id="s2")
    assert (away.status, away.error["retryable"], away.headers["Retry-After"]) == (503, True, "1")
    assert (await there.get(f"/v1/episodes/{id}")).json["state"] == "running"  # that much the store knows
    assert (await there.get(f"/v1/episodes/{id}/steps")).json["items"][0]["step_id"] == "s1"
    batch = {"steps": [{"episode": id, "step_id": "s3", "calls": []}]}
    [result] = (await there.post("/v1/batch:steps", batch)).json["results"]
    assert result["error"]["retryable"]
    assert (await there.post("/v1/leases:renew", {"ids": [id]})).json == {
        "renewed": [], "gone": [], "lease_expires_at": None
    }  # fmt: skip
    await farm.close()
    stopped = await there.step(id, "cat /mark", step_id="s2")
    assert (stopped.status, stopped.error["retryable"]) == (503, True)


async def test_a_request_is_forwarded_once_at_most(join: Join) -> None:
    (_, own), (_, there) = await join("own"), await join("there")
    id = await own.running()
    answer = await there.get(f"/v1/episodes/{id}", headers={HOP: "somebody"})
    assert (answer.status, answer.error["retryable"]) == (421, False)
    assert (await own.get(f"/v1/episodes/{id}", headers={HOP: "somebody"})).status == 200


async def test_without_an_address_it_says_where_to_go(join: Join, open_farm: Any, serve: Any) -> None:
    own = await serve(await open_farm("hidden"))
    _, there = await join("there")
    id = await own.running()
    refused = await there.step(id, "true")
    assert (refused.status, refused.error["retryable"]) == (421, False)
    assert "hidden" in refused.error["message"]
    assert (await there.get(f"/v1/episodes/{id}")).status == 200


async def test_a_trainer_need_not_know_of_any_of_it(join: Join) -> None:
    servers = [(await join(name))[1] for name in ("one", "two", "three")]
    async with Client(servers[0].url) as one, Client(servers[1].url) as two, Client(servers[2].url) as three:
        [episode] = await one.create("toy/one", key="k")
        assert [made["id"] for made in await three.create("toy/one", key="k")] == [episode["id"]]
        for turn, client in enumerate((one, two, three)):
            await client.step(episode["id"], [{"name": "bash", "arguments": {"command": "echo 1 > /mark"}}], turn=turn)
        await two.finish(episode["id"])
        assert (await three.wait_reward(episode["id"]))["value"] == 1.0


async def test_a_stream_that_breaks_there_breaks_here(join: Join, tmp_path: Any) -> None:
    (holder, own), (other, there) = await join("own"), await join("there")
    other.artifacts = Artifacts(tmp_path / "elsewhere")
    digest = holder.artifacts.put(bytes(64 << 20))  # more than the sockets between them hold
    some = {"headers": {"Range": "bytes=0-1"}}
    await until(lambda: there.get(f"/v1/artifacts/{digest}", **some), lambda answer: answer.status == 206)
    async with there.session.get(f"{there.url}/v1/artifacts/{digest}") as answer:
        await own.runner.cleanup()
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
