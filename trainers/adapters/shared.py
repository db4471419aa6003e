"""What adapters share: one farm for the process, where the trainer has no place to keep one; groups; ends."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import uuid
from typing import Any

from envfarm.trainers.client import ClientError, EpisodeFailed, Gone, Step, SyncEpisode, SyncFarm

log = logging.getLogger(__name__)

OVER = "[the episode is over]"
"""What a model is told that goes on after the end: nothing of how it ended, which may be no fault of its own."""

URL = "http://127.0.0.1:8470"
"""Where the farm is, unless somebody says."""

PATIENCE = 600.0
"""Seconds; a trainer that waits costs less than a batch without rewards."""

_farms: dict[int, SyncFarm] = {}  # by process: a fork has no threads, and so no farm
_groups: dict[int, Groups] = {}
_opening = threading.Lock()


def farm_url() -> str:
    """What ENVFARM_URL says."""
    return os.environ.get("ENVFARM_URL", URL)


def farm_token() -> str | None:
    """What ENVFARM_TOKEN says; no configuration has it, for those are written into logs and trajectories."""
    return os.environ.get("ENVFARM_TOKEN")


def shared_farm() -> SyncFarm:
    """The farm at ENVFARM_URL, with ENVFARM_TOKEN and ENVFARM_RUN; one for the process, closed at its end."""
    with _opening:
        if os.getpid() not in _farms:
            farm = SyncFarm(farm_url(), token=farm_token(), run=os.environ.get("ENVFARM_RUN"), patience=PATIENCE)
            farm.__enter__()
            _farms[os.getpid()] = farm
            atexit.register(_close, os.getpid())
        return _farms[os.getpid()]


def _close(process: int) -> None:
    if process == os.getpid():  # a fork inherits what its parent registered
        _farms.pop(process).__exit__(None, None, None)


class Groups:
    """Names groups where a trainer asks for one episode after another: so many of one task are one group.

    Those of other tasks may come between: trainers play several tasks beside each other.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size: {size} is no size of a group; give 1 or more")
        self._size = size
        self._open: dict[str, tuple[str, int]] = {}  # by task, the name of its group and how many that has
        self._lock = threading.Lock()

    def place(self, task: str) -> dict[str, Any]:
        """The `group_id` and `rollout_index` of the next episode of a task."""
        if self._size == 1:
            return {}
        with self._lock:
            name, count = self._open.pop(task, (uuid.uuid4().hex, 0))
            if count + 1 < self._size:
                self._open[task] = name, count + 1
            return {"group_id": name, "rollout_index": count}


def groups_of(size: int) -> Groups:
    """The groups of that size; one for the process, as trainers make many environments, and one after the other."""
    return _groups.setdefault(size, Groups(size))


def step_or_end(episode: SyncEpisode, name: str, arguments: dict[str, Any]) -> Step | None:
    """One turn with one call; None where the episode is over, by a limit or by a fault of the farm."""
    if episode.inner.ended:
        return None
    try:
        return episode.step({"name": name, "arguments": arguments})
    except Gone:
        return None
    except ClientError as error:
        log.warning("episode %s has failed, and will have no reward: %s", episode.id, error)
        close(episode)
        return None


def reward_or_none(episode: SyncEpisode) -> float | None:
    """What it earned, None where the farm could not tell; ends it where nobody has."""
    try:
        reward = episode.reward()
    except (ClientError, EpisodeFailed) as error:
        log.warning("episode %s has no reward: %s", episode.id, error)
        close(episode)
        return None
    if not reward.scored:
        log.warning("episode %s of %s has no reward (%s: %s)", episode.id, episode.task, reward.status, reward.reason)
    return reward.or_none()


def close(episode: SyncEpisode) -> None:
    """Let go of an episode; one that the farm cannot be told of is left to its lease."""
    try:
        episode.close()
    except ClientError as error:
        log.warning("episode %s is left to its lease: %s", episode.id, error)


def close_aside(episode: SyncEpisode) -> None:
    """Close it in a thread of its own: this one may be the client's, in which nothing may wait."""
    threading.Thread(target=close, args=(episode,), daemon=True).start()
