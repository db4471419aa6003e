"""After a death: sandboxes are taken back, steps finished, starts begun anew, rewards worked out."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, bindparam, select

from envfarm.orchestrator.farm.admission import Admission
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.endings import end_columns, ending, verdict
from envfarm.orchestrator.farm.episodes import Episode, move
from envfarm.orchestrator.farm.jobs import Scoring
from envfarm.orchestrator.farm.leases import Leases
from envfarm.orchestrator.farm.steps import Steps
from envfarm.orchestrator.schemas.episodes import EpisodeLimits
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.codec import load
from envfarm.orchestrator.store.records import step_of_row
from envfarm.toolbox.errors import BackendUnavailable, Conflict, FarmError, SandboxError

log = logging.getLogger(__name__)

_AT_ONCE = 32  # sandboxes taken back at the same time

_MINE = (
    select(tables.episodes)
    .where(
        tables.episodes.c.owner == bindparam("the_owner"),
        tables.episodes.c.state.in_(["queued", "starting", "running", "scoring"]),
    )
    .order_by(tables.episodes.c.id)
)
_STEPS = (
    select(tables.steps)
    .join(tables.episodes, tables.episodes.c.id == tables.steps.c.episode)
    .where(and_(tables.episodes.c.owner == bindparam("the_owner"), tables.episodes.c.ended_at.is_(None)))
    .order_by(tables.steps.c.episode, tables.steps.c.turn)
)


@dataclass(slots=True)
class Recovery:
    """Brings the episodes of this server back to life."""

    core: Core
    admission: Admission
    steps: Steps
    scoring: Scoring
    leases: Leases
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def run(self) -> None:
        """Load what lives, take its sandboxes back and end those that nobody claims.

        Returns when every sandbox is attached; steps, starts and scoring jobs then go on in the background.
        Raises BackendUnavailable, StoreError.
        """
        core = self.core
        await core.load_runs()
        steps = await self._steps()
        episodes = []
        for row in await core.store.rows(_MINE, {"the_owner": core.owner}):
            try:
                episode = self._episode(row, steps.get(row.id, []))
            except FarmError as error:
                await self._orphan(row, str(error))
                continue
            core.live[episode.id] = episode
            episodes.append(episode)
        await asyncio.gather(*(self._attach(episode) for episode in episodes))
        keep = [one.sandbox.id for one in episodes if one.sandbox is not None]
        warm = [one.id for one in await core.backend.find(core.owner) if one.warm]  # a pool may take them back
        reaped = await core.backend.reap(core.owner, keep=keep + warm)
        for episode in episodes:
            await self._go_on(episode, steps.get(episode.id, []))
        if episodes or reaped:
            log.info("took back %d episodes, %d sandboxes; ended %d", len(episodes), len(keep), len(reaped))

    async def _steps(self) -> dict[str, list[Any]]:
        steps: dict[str, list[Any]] = {}
        for row in await self.core.store.rows(_STEPS, {"the_owner": self.core.owner}):
            steps.setdefault(row.episode, []).append(row)
        return steps

    def _episode(self, row: Any, steps: list[Any]) -> Episode:
        """A live episode as its row and its steps have it. Raises NotFound, TaskError."""
        core = self.core
        play = core.play(core.registry.get(row.task))
        episode = Episode(row.id, row.run, play, EpisodeLimits(**load(row.limits)), created_at=row.created_at)
        episode.state = row.state
        for name in (
            "fork_of",
            "group_id",
            "rollout_index",
            "policy_version",
            "started_at",
            "terminated",
            "truncated",
        ):
            setattr(episode, name, getattr(row, name))
        episode.sandbox_id = row.sandbox
        episode.reason = row.reason
        episode.answer = None if row.answer is None else load(row.answer)
        episode.evidence = None if row.evidence is None else load(row.evidence)
        done = [step for step in steps if step.finished_at is not None]
        episode.turn = len(done)
        episode.step_ids = {step.step_id for step in done}
        for step in steps:  # one in flight too: what its calls used so far is used up
            for result in load(step.results or "[]"):
                episode.output += len(result["content"])
                episode.errors += result["is_error"]
                episode.kept += core.artifacts.size(result["artifacts"].values())
        episode.lease_s = core.lease_seconds(row.run)
        episode.renew()
        return episode

    async def _attach(self, episode: Episode) -> None:
        """Take back the sandbox of an episode that needs the one it had."""
        if episode.sandbox_id is None or episode.state not in ("running", "scoring"):
            return
        if episode.evidence is not None and not episode.play.env.needs_sandbox(episode.play.task):
            return
        async with self._slots:
            try:
                episode.sandbox = await self.core.backend.attach(episode.sandbox_id)
            except BackendUnavailable:
                raise
            except SandboxError as error:  # costs this episode, never the recovery of the others
                log.warning("%s: its sandbox was lost while the server was down: %s", episode.id, error)
                return
        self.core.toolbox.adopt(episode.sandbox, run=episode.run)

    async def _go_on(self, episode: Episode, steps: list[Any]) -> None:
        core = self.core
        open_steps = [step for step in steps if step.finished_at is None]
        if episode.state == "starting":
            await core.change(episode, "queued", sandbox=None)
        if episode.state in ("queued", "running"):
            self.leases.watch(episode)
        lost = episode.sandbox is None and (
            episode.state == "running" or (episode.state == "scoring" and episode.evidence is None)
        )
        if lost:
            await core.fail(episode, "the sandbox was lost while the server was down", lost="removed")
            return
        if episode.state == "scoring":
            self.scoring.launch(episode)
            return
        if open_steps:
            self.steps.resume(episode, step_of_row(open_steps[-1]))
        if episode.state == "queued":
            self.admission.launch(episode)

    async def _orphan(self, row: Any, why: str) -> None:
        """End an episode whose task is no longer there: its row is all that there is of it."""
        reward = verdict(row, "error", reason=f"its task cannot be used any more: {why}")
        change = move(row, "failed", self.core.owner, **end_columns("failed", reward))
        change.begin_with(ending(row, "failed", reward)[0])
        try:
            await self.core.store.write(change)
        except Conflict:
            log.info("%s: ended otherwise meanwhile", row.id)
