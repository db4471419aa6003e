"""Creations: a row and a place in the queue for each episode, at once and never twice for one key."""

from __future__ import annotations

import time

from envfarm.orchestrator.farm.admission import Admission
from envfarm.orchestrator.farm.catalogue import pick
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.episodes import Episode, created, dataset_of, happened, new_ids
from envfarm.orchestrator.farm.keys import Claim, Keys
from envfarm.orchestrator.farm.leases import Leases
from envfarm.orchestrator.farm.views import merged
from envfarm.orchestrator.schemas.episodes import EpisodeLimits, EpisodeRequest
from envfarm.orchestrator.schemas.runs import RunRequest, SourceQuotas
from envfarm.orchestrator.store.changes import INSERT_EPISODE, Change
from envfarm.tasks.spec import Task


class Creation:
    """Makes episodes."""

    def __init__(self, core: Core, keys: Keys, admission: Admission, leases: Leases) -> None:
        self.core = core
        self.keys = keys
        self.admission = admission
        self.leases = leases

    async def once(self, request: EpisodeRequest, run: str, key: str) -> list[str]:
        """The ids of the episodes that this key made, now or before.

        Raises Conflict (the key was used with another body), and what `create` raises.
        """
        claim = Claim.of(run, key, request.model_dump(exclude_defaults=True))
        return await self.keys.once(claim, lambda: self.create(request, run, claim))

    async def create(self, request: EpisodeRequest, run: str, claim: Claim | None = None) -> list[Episode]:
        """New episodes, durable and queued. Raises NotFound, TaskError, FarmFull, Conflict (the key), StoreError."""
        core = self.core
        task = pick(core.registry, request)
        core.play(task).env.check(task, core.services)
        episodes = self._episodes(request, run, task)
        self.admission.admit(run, dataset_of(task.id), request.n)
        change = Change(rows=[(INSERT_EPISODE, created(episode, core.owner)) for episode in episodes])
        change.events = [happened(episode, "episode.state", state="queued", task=task.id) for episode in episodes]
        if claim is not None:
            change.rows.append(claim.row(episodes))
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
        """The request's, else those of the task's source in the run, the run's, the task's, the server's."""
        settings = self.core.settings
        server = {
            "max_turns": settings.max_turns,
            "timeout_s": task.config.agent.timeout_sec or settings.episode_timeout,
            "step_timeout_s": settings.step_timeout,
            "output_limit": settings.output_limit,
        }
        quotas = self.core.runs.get(run, RunRequest())
        source = quotas.sources.get(dataset_of(task.id), SourceQuotas())
        return merged(request.limits, source.limits, quotas.limits, server)
