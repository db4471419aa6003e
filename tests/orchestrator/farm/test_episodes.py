"""The state machine in memory."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, get_args

import pytest

from envfarm.orchestrator.farm.episodes import MOVES, Episode, move, new_ids
from envfarm.orchestrator.schemas.episodes import ENDED, EpisodeLimits, EpisodeState
from envfarm.toolbox.errors import Conflict


@pytest.fixture
def episode() -> Episode:
    return Episode("ep-1", "run", Any, EpisodeLimits(), created_at=0.0)  # type: ignore[arg-type]


def test_every_state_is_reached_and_only_the_last_ones_are_never_left() -> None:
    states = set(get_args(EpisodeState))
    assert set().union(*MOVES.values()) | {"queued"} == states
    assert states - set(MOVES) == ENDED


@pytest.mark.parametrize(("old", "new"), list(itertools.product(get_args(EpisodeState), repeat=2)))
def test_there_is_no_move_but_those(episode: Episode, old: EpisodeState, new: EpisodeState) -> None:
    episode.state = old
    if new in MOVES.get(old, ()):
        assert move(episode, new, "me").events[0].data == {"state": new, "from": old}
    else:
        with pytest.raises(Conflict, match=f"is {old}"):
            move(episode, new, "me")


def test_ids_rise_and_never_meet() -> None:
    ids = [*new_ids(1000), *new_ids(1000)]
    assert ids == sorted(set(ids))


async def test_waiting_ends_with_the_change_or_with_the_time(episode: Episode) -> None:
    assert not await episode.wait(lambda one: one.state == "running", 0.01)
    assert not episode.waiters  # nothing is left of it
    waiting = [asyncio.create_task(episode.wait(lambda one: one.state == "running", 5)) for _ in range(3)]
    await asyncio.sleep(0)
    episode.notify()  # of something else
    await asyncio.sleep(0)
    episode.state = "running"
    episode.notify()
    assert await asyncio.gather(*waiting) == [True] * 3
    assert await episode.wait(lambda one: one.state == "running", 0)
