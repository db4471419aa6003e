"""What is too old is forgotten, rows and files."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.schemas.episodes import Call, EpisodeLimits, EpisodeRequest, FinishRequest, StepRequest
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import Change
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import NotFound
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend

ONE = EpisodeRequest(task_id="toy/one", limits=EpisodeLimits(output_limit=256))
DAY = 86400.0
LINES = "\n".join(["a line that is longer than what a model is shown of one"] * 20)


async def scored(farm: Farm, mark: str, **more: Any) -> str:
    """An episode with a reward, and a whole output that was cut for the model."""
    [view] = await farm.create(ONE, **more)
    await farm.step(view.id, StepRequest(step_id="s", calls=[bash(f"echo {mark} > /mark"), bash(f"echo '{LINES}'")]))
    await farm.finish(view.id, FinishRequest())
    assert (await farm.reward(view.id, wait=10)).value == float(mark)
    return view.id


def bash(command: str) -> Call:
    return Call(name="bash", arguments={"command": command})


async def names(farm: Farm, id: str) -> dict[str, str]:
    """The digests of what an episode kept."""
    return {one.name: one.digest for one in (await farm.artifacts_of(id)).items}


def kept(artifacts: Artifacts, digests: set[str]) -> set[str]:
    """Those that are still there."""
    found = set()
    for digest in digests:
        try:
            artifacts.path(digest)
        except NotFound:
            continue
        found.add(digest)
    return found


async def test_what_was_deleted_is_forgotten_after_a_while(open_farm: Any) -> None:
    farm = await open_farm(keep_deleted=100, keep_events=1000)
    [view] = await farm.create(ONE, idempotency_key="k")
    await farm.step(view.id, StepRequest(step_id="s", calls=[bash("true")]))
    await farm.delete(view.id)
    await farm.broom.rows(time.time())
    assert len(await farm.store.rows(select(tables.steps))) == 1
    await farm.broom.rows(time.time() + 500)
    for table in (tables.episodes, tables.steps, tables.rewards):
        assert await farm.store.rows(select(table)) == []
    assert len(await farm.store.rows(select(tables.events))) > 1
    await farm.broom.rows(time.time() + 5000)
    assert len(await farm.store.rows(select(tables.events))) == 1  # the newest: ids never start anew
    assert await farm.store.rows(select(tables.requests)) == []


async def test_servers_that_left_nothing_behind_are_forgotten(open_farm: Any) -> None:
    farm = await open_farm(keep_events=1000)
    rows = [{"id": id, "started_at": 1.0, "heartbeat_at": 1.0} for id in ("empty", "busy")]
    await farm.store.write(Change(rows=[(insert(tables.servers), row) for row in rows]))
    [view] = await farm.create(ONE)
    theirs = update(tables.episodes).where(tables.episodes.c.id == view.id).values(owner="busy")
    await farm.store.write(Change(guard=(theirs, {})))
    await farm.broom.rows(time.time() + 5000)
    assert {row.id for row in await farm.store.rows(select(tables.servers))} == {"me", "busy"}


async def test_files_go_with_the_last_episode_that_refers_to_them(farm: Farm) -> None:
    gone, stays = await scored(farm, "0.25"), await scored(farm, "0.5")
    of_gone, of_stays = [set((await names(farm, id)).values()) for id in (gone, stays)]
    shared = of_gone & of_stays
    assert len(of_gone - shared) == 1  # its mark
    assert len(shared) == 1  # the whole output
    nobodys = farm.artifacts.put(b"its row never came")
    everything = {*of_gone, *of_stays, nobodys}
    await farm.delete(gone)
    await farm.broom.rows(time.time() + DAY)
    await farm.broom.files(time.time())  # too new: its row may be about to come
    assert kept(farm.artifacts, everything) == everything
    await farm.broom.files(time.time() + 2 * DAY)
    assert kept(farm.artifacts, everything) == of_stays
    await farm.delete(stays)
    await farm.broom.files(time.time() + 2 * DAY)  # deleted, but not yet forgotten
    assert kept(farm.artifacts, everything) == of_stays
    await farm.broom.rows(time.time() + DAY)
    await farm.broom.files(time.time() + 2 * DAY)
    assert kept(farm.artifacts, everything) == set()


async def test_the_files_of_a_step_that_has_not_ended_stay(farm: Farm, backend: SimulatedBackend) -> None:
    [view] = await farm.create(ONE)
    backend.latency = 0.1
    calls = [bash(f"echo '{LINES}'"), *[bash("true")] * 100]
    assert await farm.step(view.id, StepRequest(step_id="s", calls=calls, wait=0)) is None
    async with asyncio.timeout(10):
        while not (kept_names := await names(farm, view.id)):  # noqa: ASYNC110 - a caller can only ask again
            await asyncio.sleep(0.02)
    await farm.broom.files(time.time() + 2 * DAY)
    assert await farm.step_result(view.id, "s") is None  # it still runs
    assert list(kept_names) == ["steps/0/0/stdout"]
    assert farm.artifacts.get(kept_names["steps/0/0/stdout"]).decode().strip() == LINES


async def test_another_servers_files_stay(open_farm: Any) -> None:
    one, other = await open_farm("one"), await open_farm("other")
    id = await scored(one, "1")
    await other.broom.files(time.time() + 2 * DAY)
    digests = set((await names(one, id)).values())
    assert kept(one.artifacts, digests) == digests


async def test_another_database_does_not_end_the_files_of_the_one_before(
    open_farm: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    farm = await open_farm()
    digests = set((await names(farm, await scored(farm, "1"))).values())
    await farm.broom.files(time.time())
    farm.store.url = farm.store.url.set(database=str(tmp_path / "another.db"))
    nobodys = farm.artifacts.put(b"nobody's")
    with caplog.at_level(logging.WARNING):
        await farm.broom.files(time.time() + 2 * DAY)
    assert "set `data` to another folder" in caplog.text
    assert kept(farm.artifacts, {*digests, nobodys}) == {*digests, nobodys}
