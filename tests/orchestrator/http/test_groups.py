"""Groups over HTTP: how the rollouts of one prompt stand together, and their early end."""

from __future__ import annotations

from typing import Any

import pytest

Api = Any
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


async def group(api: Api, n: int, **limits: Any) -> list[str]:
    """The ids of a group that runs."""
    created = await api.create(n=n, group_id="g", run="r", limits=limits)
    ids = [one["id"] for one in created]
    for id in ids:
        assert (await api.get(f"/v1/episodes/{id}?wait=10")).json["state"] == "running"
    return ids


async def score(api: Api, id: str, mark: str) -> Any:
    await api.step(id, f"echo {mark} > /mark")
    await api.post(f"/v1/episodes/{id}/finish")
    return (await api.get(f"/v1/episodes/{id}/reward?wait=10")).json


async def test_a_group_is_seen_as_a_whole(api: Api) -> None:
    ids = await group(api, 3)
    await score(api, ids[0], "1")
    await score(api, ids[2], "0")
    seen = (await api.get("/v1/groups/g?run=r")).json
    assert [(one["episode"], one["rollout_index"], one["status"], one["value"]) for one in seen["members"]] == [
        (ids[0], 0, "done", 1.0),
        (ids[1], 1, "pending", None),
        (ids[2], 2, "done", 0.0),
    ]
    assert (seen["done"], seen["passes"], seen["mean"], seen["std"]) == (2, 1, 0.5, 0.5)
    await api.post(f"/v1/episodes/{ids[1]}/cancel")
    assert (await api.get("/v1/groups/g?run=r")).json["done"] == 2  # a null reward is not averaged
    assert (await api.get("/v1/groups/g")).status == 404
    assert (await api.get("/v1/groups/none?run=r")).error["message"] == "no group 'none' in run 'r'"


async def test_a_group_ends_with_its_first_pass_when_it_asked_for_that(api: Api) -> None:
    ids = await group(api, 3, stop_group="pass")
    assert (await score(api, ids[0], "0"))["value"] == 0
    assert (await api.get(f"/v1/episodes/{ids[2]}")).json["state"] == "running"
    assert (await score(api, ids[1], "1"))["value"] == 1
    ended = (await api.get(f"/v1/episodes/{ids[2]}/reward?wait=10")).json
    assert (ended["status"], ended["value"]) == ("invalid", None)
    assert ended["reason"] == "its group was decided (pass) by 1 of 2 that passed"
    assert (await api.step(ids[2], "true")).status == 410


async def test_a_mixed_group_needs_one_of_each(api: Api) -> None:
    ids = await group(api, 4, stop_group="mixed")
    other = await api.running(run="r", group_id="another")
    for id in ids[:2]:
        await score(api, id, "1")
    assert (await api.get(f"/v1/episodes/{ids[3]}")).json["state"] == "running"
    await score(api, ids[2], "0")
    assert (await api.get(f"/v1/episodes/{ids[3]}/reward?wait=10")).json["status"] == "invalid"
    assert (await api.get(f"/v1/episodes/{other}")).json["state"] == "running"
