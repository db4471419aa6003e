"""Forks over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from envfarm.orchestrator.replay import recorded
from envfarm.toolbox.errors import ForkUnsupported
from envfarm.trainers.client import Client, Conflict

Api = Any  # conftest.Api; tests are no package
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


async def test_a_fork_is_an_episode_with_the_origins_steps(api: Api) -> None:
    id = await api.running()
    await api.step(id, "echo 1 > /mark")
    answer = await api.post(f"/v1/episodes/{id}/fork", {"n": 2})
    assert answer.status == 201
    assert [(twin["state"], twin["turn"]) for twin in answer.json["episodes"]] == [("running", 1)] * 2
    twin = answer.json["episodes"][0]["id"]
    steps = (await api.get(f"/v1/episodes/{twin}/steps")).json["items"]
    assert steps == (await api.get(f"/v1/episodes/{id}/steps")).json["items"]
    exported = (await api.get(f"/v1/episodes/{twin}")).json | {"steps": steps}
    assert len(recorded(exported).steps) == 1
    assert (await api.step(twin, "cat /mark", step_id="s2")).json["results"][0]["content"] == "1\n"


async def test_refusals_are_answers(api: Api, backend: Any) -> None:
    assert (await api.post("/v1/episodes/ep-none/fork", {})).error["type"] == "not_found"
    id = await api.running()
    wrong = await api.post(f"/v1/episodes/{id}/fork", {"n": 0})
    assert (wrong.status, wrong.error["message"][:8]) == (400, "body: n:")
    full = await api.post(f"/v1/episodes/{id}/fork", {"n": 100})
    assert (full.status, full.error["type"], full.error["retryable"]) == (429, "quota", True)
    assert int(full.headers["Retry-After"]) >= 1
    backend.failures = [ForkUnsupported("no forks here: do this")]
    cannot = await api.post(f"/v1/episodes/{id}/fork", {})
    assert cannot.status == 501
    assert cannot.error == {
        "type": "unsupported",
        "message": "no forks here: do this",
        "retryable": False,
        "episode": id,
    }
    await api.post(f"/v1/episodes/{id}/cancel")
    gone = await api.post(f"/v1/episodes/{id}/fork", {})
    assert (gone.status, gone.error["type"]) == (410, "gone")


async def test_a_token_for_one_run_forks_no_others(serve: Any, farm: Any) -> None:
    whole = await serve(farm, token="a", tokens=["a", "b:mine"])
    id = await whole.running()
    assert (await whole.post(f"/v1/episodes/{id}/fork", {}, headers={"Authorization": "Bearer b"})).status == 404
    assert (await whole.post(f"/v1/episodes/{id}/fork", {})).status == 201


async def test_the_client_forks(api: Api) -> None:
    async with Client(api.url) as client:
        id = await api.running()
        twins = await client.fork(id, n=2, key="k")
        assert [twin["id"] for twin in twins] == [twin["id"] for twin in await client.fork(id, n=2, key="k")]
        assert len({twin["id"] for twin in twins + await client.fork(id)}) == 3
        with pytest.raises(Conflict):
            await client.fork(id, n=1, key="k")
