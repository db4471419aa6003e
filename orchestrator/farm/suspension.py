"""Suspension: an episode whose trainer stops in the middle keeps its sandbox, takes no steps, and goes on later."""

from __future__ import annotations

import time
from collections.abc import Mapping

from sqlalchemy import bindparam, update

from envfarm.orchestrator.errors import Moving
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.episodes import Episode, happened
from envfarm.orchestrator.farm.leases import Leases
from envfarm.orchestrator.schemas.episodes import EventType, ResumeRequest, SuspendRequest
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import Change
from envfarm.toolbox.errors import Conflict, Gone

_TABLE = tables.episodes
_COLUMNS = ("policy_version", "rested_s", "suspended_at", "suspended_until")
_WRITE = (
    update(_TABLE)
    .where(
        _TABLE.c.id == bindparam("the_id"),
        _TABLE.c.state == bindparam("the_state"),
        _TABLE.c.owner == bindparam("the_owner"),
    )
    .values({name: bindparam(f"new_{name}") for name in _COLUMNS})
)
_BEFORE = frozenset({"queued", "starting", "running"})


class Suspension:
    """Suspends live episodes and lets them go on."""

    def __init__(self, core: Core, leases: Leases) -> None:
        self.core = core
        self.leases = leases

    async def suspend(self, episode: Episode, request: SuspendRequest) -> None:
        """Let an episode rest, from now on or for longer; a step in flight goes on to its end.

        Raises Gone, Conflict (its state changes just now), Moving, StoreError.
        """
        seconds = request.ttl_s or self.core.settings.suspend_seconds
        async with episode.exclusive():
            _live(episode)
            at = time.time()
            columns = {"suspended_at": episode.suspended_at or at, "suspended_until": at + seconds}
            await self._write(episode, "episode.suspended", columns, until=columns["suspended_until"])
            episode.suspended_at, episode.suspended_until = columns["suspended_at"], columns["suspended_until"]
            episode.lease_until = episode.suspended_until
            self.leases.watch(episode)

    async def resume(self, episode: Episode, request: ResumeRequest) -> None:
        """Let an episode go on, under another policy version where one is given; the time of its rest does not count.

        Raises Gone, Conflict (its state changes just now), Moving, StoreError.
        """
        async with episode.exclusive():
            _live(episode)
            policy = request.policy_version or episode.policy_version
            if episode.suspended_at is None and policy == episode.policy_version:
                return
            rested = episode.rested()
            columns = {"policy_version": policy, "rested_s": rested, "suspended_at": None, "suspended_until": None}
            await self._write(episode, "episode.resumed", columns, policy_version=policy)
            episode.policy_version, episode.rested_s = policy, rested
            episode.suspended_at = episode.suspended_until = None
            episode.renew()
            self.leases.watch(episode)

    async def _write(self, episode: Episode, event: EventType, columns: Mapping[str, object], **data: object) -> None:
        """Make it durable before it is in force, for the state that we believe the episode to be in."""
        known = {name: columns.get(name, getattr(episode, name)) for name in _COLUMNS}
        parameters = {f"new_{name}": value for name, value in known.items()}
        parameters |= {"the_id": episode.id, "the_state": episode.state, "the_owner": self.core.owner}
        try:
            await self.core.store.write(Change(guard=(_WRITE, parameters), events=[happened(episode, event, **data)]))
        except Conflict:
            if episode.taken:
                raise Moving(f"another server took over episode {episode.id}; send the same again") from None
            raise


def _live(episode: Episode) -> None:
    if episode.state not in _BEFORE:
        why = f" ({episode.reason})" if episode.reason else ""
        raise Gone(f"episode {episode.id} is {episode.state}{why}: it can be neither suspended nor resumed")
