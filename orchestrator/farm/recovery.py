"""After a death: sandboxes are taken back, steps finished, starts begun anew, rewards worked out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam, select

from envfarm.orchestrator.errors import StoreError
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
from envfarm.orchestrator.store.servers import LIVE
from envfarm.toolbox.errors import BackendUnavailable, Conflict, FarmError, SandboxError, SandboxLost

log = logging.getLogger(__name__)

_AT_ONCE = 32  # sandboxes taken back at the same time
_ROWS = 500  # ids in one query
_AWAY = 2.0  # seconds until a back end that is away is asked again for what was taken over

_E = tables.episodes.c
_MINE = select(tables.episodes).where(_E.owner == bindparam("the_owner"), _E.state.in_(LIVE)).order_by(_E.id)
_STEPS = (
    select(tables.steps)
    .join(tables.episodes, _E.id == tables.steps.c.episode)
    .where(_E.owner == bindparam("the_owner"), _E.ended_at.is_(None))
    .order_by(tables.steps.c.episode, tables.steps.c.turn)
)
_ANYBODYS = select(_E.sandbox).where(_E.ended_at.is_(None), _E.sandbox.is_not(None))
_OTHERS = _ANYBODYS.where(_E.owner != bindparam("the_owner"))
_SOME: BindParameter[list[str]] = bindparam("ids", expanding=True)


@dataclass(slots=True)
class Recovery:
    """Brings episodes back to life: this server's own, and those that it took over from another."""

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
        steps = await self._steps(_STEPS)
        episodes = await self._load(_MINE, steps)
        await asyncio.gather(*(self._attach(episode) for episode in episodes))
        keep = [one.sandbox.id for one in episodes if one.sandbox is not None]
        warm = [one.id for one in await core.backend.find(core.owner) if one.warm]  # a pool may take them back
        reaped = await core.backend.reap(core.owner, keep=[*keep, *warm, *await self._of_others()])
        for episode in episodes:
            core.live[episode.id] = episode
            await self._go_on(episode, steps.get(episode.id, []))
        if episodes or reaped:
            log.info("took back %d episodes, %d sandboxes; ended %d", len(episodes), len(keep), len(reaped))

    async def take(self, ids: Sequence[str]) -> None:
        """Go on with episodes that are ours since a moment ago; one that no engine answers for waits until one does.

        Raises StoreError: then it can be called again.
        """
        for start in range(0, len(ids), _ROWS):
            some = {"ids": [id for id in ids[start : start + _ROWS] if id not in self.core.live]}
            steps = await self._steps(_STEPS.where(_E.id.in_(_SOME)), **some)
            episodes = await self._load(_MINE.where(_E.id.in_(_SOME)), steps, **some)
            await asyncio.gather(*(self._take(episode, steps.get(episode.id, [])) for episode in episodes))

    async def sweep(self, owner: str, before: Collection[str]) -> int:
        """End the sandboxes of a gone server that were there before and that no episode has; returns how many.

        Raises SandboxError, StoreError.
        """
        backend = self.core.backend
        keep = [row.sandbox for row in await self.core.store.rows(_ANYBODYS)]
        now = await backend.find(owner)
        keep += [one.id for one in now if one.id not in before]  # it may be back, and start others
        return len(await backend.reap(owner, keep=keep))

    async def _take(self, episode: Episode, steps: list[Any]) -> None:
        while not await self._attach(episode, taken=True):  # noqa: ASYNC110 - an engine can only be asked
            await asyncio.sleep(_AWAY)
        self.core.live[episode.id] = episode
        while True:
            try:
                await self._go_on(episode, steps)
                return
            except Conflict:
                log.info("%s: ended while it was taken over", episode.id)
                return
            except StoreError as error:
                log.error("%s: its takeover waits: %s", episode.id, error)
                await asyncio.sleep(_AWAY)

    async def _of_others(self) -> list[str]:
        """The sandboxes of other servers' episodes: one of ours may have been taken over with its name on it."""
        if self.core.servers.alone:
            return []
        return [row.sandbox for row in await self.core.store.rows(_OTHERS, {"the_owner": self.core.owner})]

    async def _load(self, query: Select[Any], steps: dict[str, list[Any]], **more: Any) -> list[Episode]:
        """Live episodes as their rows have them; those that cannot be are ended."""
        episodes = []
        for row in await self.core.store.rows(query, {"the_owner": self.core.owner, **more}):
            try:
                episodes.append(self._episode(row, steps.get(row.id, [])))
            except FarmError as error:
                await self._orphan(row, str(error))
        return episodes

    async def _steps(self, query: Select[Any], **more: Any) -> dict[str, list[Any]]:
        steps: dict[str, list[Any]] = {}
        for row in await self.core.store.rows(query, {"the_owner": self.core.owner, **more}):
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
            "rested_s",
            "suspended_at",
            "suspended_until",
        ):
            setattr(episode, name, getattr(row, name))
        episode.sandbox_id = row.sandbox
        episode.bare = row.sandbox is None and row.state in ("running", "scoring")
        episode.reason = row.reason
        episode.answer = None if row.answer is None else load(row.answer)
        episode.evidence = None if row.evidence is None else load(row.evidence)
        done = [step for step in steps if step.finished_at is not None]
        episode.turn = len(done)
        episode.step_ids = {step.step_id for step in done}
        for step in done:
            episode.tool_state = episode.tool_state if step.state is None else load(step.state)
        for step in steps:  # one in flight too: what its calls used so far is used up
            for result in load(step.results or "[]"):
                episode.output += len(result["content"])
                episode.errors += result["is_error"]
                episode.kept += core.artifacts.size(result["artifacts"].values())
        episode.lease_s = core.lease_seconds(row.run)
        episode.renew()
        return episode

    async def _attach(self, episode: Episode, *, taken: bool = False) -> bool:
        """Take back the sandbox of an episode that needs the one it had, or that was `taken` over.

        False when the back end is away, which ends nothing that was taken over. Raises BackendUnavailable.
        """
        core = self.core
        if episode.sandbox_id is None or episode.state not in ("running", "scoring"):
            return True
        if not taken and episode.evidence is not None and not episode.play.env.needs_sandbox(episode.play.task):
            return True
        async with self._slots:
            try:
                sandbox = await core.backend.attach(episode.sandbox_id)
                if not await core.backend.claim(sandbox, owner=core.owner, lease=episode.id):
                    await sandbox.detach()
                    raise SandboxLost("it is somebody else's", cause="removed")
            except SandboxError as error:  # costs this episode, never the recovery of the others
                away = isinstance(error, BackendUnavailable) or getattr(error, "cause", None) == "engine"
                if away and taken:
                    log.warning("%s: its sandbox cannot be taken over yet: %s", episode.id, error)
                    return False
                if isinstance(error, BackendUnavailable):
                    raise
                log.warning("%s: its sandbox was lost while the server was down: %s", episode.id, error)
                return True
        episode.sandbox = sandbox
        core.toolbox.adopt(sandbox, run=episode.run, source=episode.source)
        return True

    async def _go_on(self, episode: Episode, steps: list[Any]) -> None:
        core = self.core
        open_steps = [step for step in steps if step.finished_at is None]
        if episode.state == "starting":
            await core.change(episode, "queued", sandbox=None)
        if episode.state in ("queued", "running"):
            self.leases.watch(episode)
        lost = (episode.sandbox is None and not episode.bare) and (
            episode.state == "running" or (episode.state == "scoring" and episode.evidence is None)
        )
        if lost and episode.state == "running" and episode.untouched and not open_steps:
            await self.admission.again(episode, SandboxLost("it died while the server was down", cause="removed"))
            return
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
