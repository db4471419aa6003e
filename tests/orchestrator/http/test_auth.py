"""Who may call, and what a token for one run sees."""

from __future__ import annotations

from typing import Any

import pytest

from envfarm.orchestrator.errors import Unauthorized
from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.http.auth import Auth
from envfarm.toolbox.errors import BadRequest

Api = Any
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic secret", "secret", "Bearer", "Bearer secret:r"])
async def test_a_wrong_token(serve: Any, farm: Farm, header: str | None) -> None:
    api = await serve(farm, tokens=["secret"])
    assert "write `Bearer TOKEN`" in (await api.get("/v1/tasks", headers={"Authorization": "secret"})).error["message"]
    headers = {} if header is None else {"Authorization": header}
    for path in ("/v1/episodes", "/metrics"):
        answer = await api.get(path, headers=headers)
        assert (answer.status, answer.error["type"]) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_right_token_and_what_needs_none(serve: Any, farm: Farm) -> None:
    api = await serve(farm, tokens=["other", "secret"], token="secret")
    assert (await api.get("/v1/episodes")).status == 200
    assert (await api.get("/v1/tasks", headers={"Authorization": "bearer secret"})).status == 200
    api.token = None
    for path in ("/health", "/ready", "/openapi.json", "/docs"):
        assert (await api.get(path)).status == 200


async def test_a_token_for_one_run_sees_no_other(serve: Any, farm: Farm) -> None:
    api = await serve(farm, tokens=["all", "mine:r"], token="all")
    foreign = await api.running(run="other")
    api.token = "mine"
    [own] = await api.create()
    assert own["run"] == "r"
    assert [one["id"] for one in (await api.get("/v1/episodes")).json["items"]] == [own["id"]]
    hidden = [
        await api.get(f"/v1/episodes/{foreign}"),
        await api.get(f"/v1/episodes/{foreign}/reward"),
        await api.get(f"/v1/episodes/{foreign}/steps"),
        await api.get(f"/v1/episodes/{foreign}/artifacts"),
        await api.step(foreign, "true"),
        await api.post(f"/v1/episodes/{foreign}/finish"),
        await api.post(f"/v1/episodes/{foreign}/cancel"),
        await api("DELETE", f"/v1/episodes/{foreign}"),
    ]
    assert {answer.status for answer in hidden} == {404}
    batch = await api.post("/v1/batch:steps", {"steps": [{"episode": foreign, "step_id": "s", "calls": []}]})
    assert batch.json["results"][0]["error"]["type"] == "not_found"
    assert (await api.post("/v1/leases:renew", {"ids": [foreign, own["id"]]})).json["gone"] == [foreign]
    forbidden = [
        await api.get("/v1/episodes?run=other"),
        await api.get("/v1/rewards?run=other"),
        await api.get("/v1/events?run=other"),
        await api.get("/v1/runs/other"),
        await api("PUT", "/v1/runs/r", {"priority": 100}),
        await api.post("/v1/episodes", {"task_id": "toy/one", "run": "other"}),
        await api.post("/v1/leases:renew", {"run": "other"}),
    ]
    assert {(answer.status, answer.error["type"]) for answer in forbidden} == {(403, "forbidden")}
    assert (await api.get("/v1/runs/r")).status == 200
    api.token = "all"
    assert (await api.get(f"/v1/episodes/{foreign}")).json["state"] == "running"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Host": "127.0.0.1:5", "Origin": "http://127.0.0.1:5"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_without_tokens_web_pages_are_kept_out(api: Api, headers: dict[str, str], status: int) -> None:
    answer = await api.get("/v1/tasks", headers=headers)
    assert answer.status == status
    if status == 403:
        assert "tokens" in answer.error["message"]


@pytest.mark.parametrize("tokens", [[""], [":r"], ["good", " :r"]])
def test_an_empty_token_is_refused_as_anybody_could_send_it(tokens: list[str], database: str) -> None:
    with pytest.raises(BadRequest, match="one is empty"):
        Auth(tokens)


async def test_a_token_that_is_no_text_is_not_known(serve: Any, farm: Farm) -> None:
    api = await serve(farm, tokens=["secret"])
    answer = await api.get("/v1/episodes", headers={"Authorization": "Bearer \udcff\udcfe"})
    assert (answer.status, answer.error["type"]) == (401, "unauthorized")
    with pytest.raises(Unauthorized):
        Auth(["secret"]).caller("Bearer \udcff", "localhost", None)


async def test_a_token_for_one_run_deletes_twice_what_is_its_own_and_nothing_else(serve: Any, farm: Farm) -> None:
    api = await serve(farm, tokens=["mine:r", "theirs:s"], token="mine")
    created = await api.post("/v1/episodes", {"task_id": "toy/one"})
    place = f"/v1/episodes/{created.json['episodes'][0]['id']}"
    assert [(await api("DELETE", place)).status for _ in range(2)] == [204, 204]
    api.token = "theirs"
    assert (await api("DELETE", place)).status == 404


async def test_a_token_for_one_run_reads_what_its_own_episodes_kept(serve: Any, farm: Farm) -> None:
    api = await serve(farm, tokens=["all", "mine:r", "theirs:s"], token="mine")
    id = await api.running(limits={"output_limit": 256})
    step = await api.step(id, f"echo {'x' * 1000}")
    place = f"/v1/artifacts/{step.json['results'][0]['artifacts']['stdout']}"
    assert (await api.get(place)).status == 200
    api.token = "theirs"
    hidden, missing = await api.get(place), await api.get("/v1/artifacts/sha256:" + "0" * 64)
    assert (hidden.status, hidden.error["type"]) == (missing.status, missing.error["type"]) == (404, "not_found")
    api.token = "all"
    assert (await api.get(place)).status == 200
    api.token = "mine"
    await api("DELETE", f"/v1/episodes/{id}")
    assert (await api.get(place)).status == 404


async def test_a_token_for_one_run_reads_no_numbers_of_the_whole_farm(serve: Any, farm: Farm) -> None:
    api = await serve(farm, tokens=["all", "mine:r"], token="all")
    assert (await api.get("/metrics")).status == 200
    api.token = "mine"
    answer = await api.get("/metrics")
    assert (answer.status, answer.error["type"]) == (403, "forbidden")
