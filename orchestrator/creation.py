"""Creations: a row and a place in the queue for each episode, at once and never twice for one key."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any

from sqlalchemy import bindparam, select

from envfarm.orchestrator import tables
from envfarm.orchestrator.admission import Admission
from envfarm.orchestrator.catalogue import pick
from envfarm.orchestrator.changes import INSERT_EPISODE, INSERT_REQUEST, Change
from envfarm.orchestrator.codec import dump, load
from envfarm.orchestrator.core import Core
from envfarm.orchestrator.episodes import Episode, created, happened, new_ids
from envfarm.orchestrator.leases import Leases
from envfarm.orchestrator.run_schemas import RunRequest
from envfarm.orchestrator.schemas import EpisodeLimits, EpisodeRequest
from envfarm.orchestrator.views import merged
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import BadRequest, Conflict

_KEY = select(tables.requests).where(
    tables.requests.c.run == bindparam("run"), tables.requests.c.key == bindparam("key")
)


class Creation:
    """Makes episodes."""

    def __init__(self, core: Core, admission: Admission, leases: Leases) -> None:
        self.core = core
        self.admission = admission
        self.leases = leases
        self._busy: dict[tuple[str, str], asyncio.Lock] = {}

    async def once(self, request: EpisodeRequest, run: str, key: str) -> list[str]:
        """The ids of the episodes that this key made, now or before.

        Raises Conflict (the key was used with another body), and what `create` raises.
        """
        if not 1 <= len(key) <= 200 or not key.isprintable():
            raise BadRequest("Idempotency-Key: give 1 to 200 printable characters")
        digest = hashlib.sha256(dump(request.model_dump(exclude_defaults=True)).encode()).hexdigest()
        lock = self._busy.setdefault((run, key), asyncio.Lock())
        async with lock:
            try:
                known = await self._known(run, key, digest)
                if known is None:
                    known = [episode.id for episode in await self.create(request, run, key=key, digest=digest)]
            except Conflict:  # another server had the same request
                known = await self._known(run, key, digest)
                if known is None:
                    raise
            finally:
                self._busy.pop((run, key), None)
        return known

    async def create(
        self, request: EpisodeRequest, run: str, *, key: str | None = None, digest: str = ""
    ) -> list[Episode]:
        """New episodes, durable and queued. Raises NotFound, TaskError, FarmFull, Conflict (the key), StoreError."""
        core = self.core
        task = pick(core.registry, request)
        episodes = self._episodes(request, run, task)
        self.admission.admit(run, request.n)
        change = Change(rows=[(INSERT_EPISODE, created(episode, core.owner)) for episode in episodes])
        change.events = [happened(episode, "episode.state", state="queued", task=task.id) for episode in episodes]
        if key is not None:
            row: dict[str, Any] = {"run": run, "key": key, "digest": digest, "created_at": time.time()}
            row["episodes"] = dump([episode.id for episode in episodes])
            change.rows.append((INSERT_REQUEST, row))
        await core.store.write(change)
        for episode in episodes:
            core.live[episode.id] = episode
            episode.renew()
            self.leases.watch(episode)
            self.admission.launch(episode)
        return episodes

    def _episodes(self, request: EpisodeRequest, run: str, task: Task) -> list[Episode]:
        core = self.core
        play = core.play(task)
        limits = self._limits(request, run, task)
        group = request.group_id
        episodes = []
        for index, id in enumerate(new_ids(request.n)):
            episode = Episode(id, run, play, limits, created_at=time.time())
            if group is None and request.n > 1:
                group = f"g-{id}"
            episode.group_id = group
            if request.n > 1 or request.rollout_index is not None:
                episode.rollout_index = (request.rollout_index or 0) + index
            episode.policy_version = request.policy_version
            episode.lease_s = core.lease_seconds(run)
            episodes.append(episode)
        return episodes

    def _limits(self, request: EpisodeRequest, run: str, task: Task) -> EpisodeLimits:
        """The request's, else the run's, else the task's, else the server's."""
        settings = self.core.settings
        server = {
            "max_turns": settings.max_turns,
            "timeout_s": task.config.agent.timeout_sec or settings.episode_timeout,
            "step_timeout_s": settings.step_timeout,
            "output_limit": settings.output_limit,
        }
        quotas = self.core.runs.get(run, RunRequest())
        return merged(request.limits, quotas.limits, server)

    async def _known(self, run: str, key: str, digest: str) -> list[str] | None:
        rows = await self.core.store.rows(_KEY, {"run": run, "key": key})
        if not rows:
            return None
        if rows[0].digest != digest:
            raise Conflict(f"Idempotency-Key {key!r} was used before with another body; make up a new one")
        ids: list[str] = load(rows[0].episodes)
        return ids
