"""Scoring: what the agent left is saved, then judged; a fault of the farm is tried again, then null, never 0."""

from __future__ import annotations

import asyncio
import logging

from sqlalchemy import bindparam, update

from envfarm.envs.base import Reward, ScoreContext
from envfarm.orchestrator.errors import StoreError
from envfarm.orchestrator.farm.blame import Blame
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.endings import verdict
from envfarm.orchestrator.farm.episodes import Episode, happened
from envfarm.orchestrator.farm.groups import Groups
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import INSERT_ARTIFACT, Change
from envfarm.orchestrator.store.codec import dump
from envfarm.toolbox.errors import Conflict, SandboxError, SandboxLost, StorageError
from envfarm.toolbox.sandboxes.base import Sandbox

log = logging.getLogger(__name__)

_SAVE = update(tables.episodes).where(tables.episodes.c.id == bindparam("the_id")).values(evidence=bindparam("new"))
_COLLECTS = 4  # sandboxes whose files are taken at the same time: each may bring half a gigabyte
_LONGEST = 30.0  # seconds between tries to store a reward
_PAUSE = 0.5  # seconds before the second attempt, doubled after each


class Scoring:
    """Scores episodes in the background, one job for each."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._collecting = asyncio.Semaphore(_COLLECTS)
        self.blame = Blame(core)
        self.groups = Groups(core)

    async def begin(
        self, episode: Episode, *, terminated: bool, truncated: bool, reason: str | None, also: Change | None = None
    ) -> None:
        """End the agent's part of an episode, durably, and start its job. Raises Conflict, StoreError."""
        await self.core.change(
            episode,
            "scoring",
            also=also,
            terminated=terminated,
            truncated=truncated,
            reason=reason,
            answer=None if episode.answer is None else dump(episode.answer),
        )
        self.launch(episode)

    def launch(self, episode: Episode) -> None:
        """Start the job of an episode that is in the state `scoring`."""
        episode.work = self.core.spawn(self._job(episode), f"score-{episode.id}")

    async def _job(self, episode: Episode) -> None:
        pause = _PAUSE
        while True:
            try:
                await self.core.see_through(episode, self._to_reward(episode), "scoring failed")
                return
            except (StoreError, StorageError) as error:
                log.error("%s: its reward waits: %s", episode.id, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST)  # each try may run the tests again

    async def _to_reward(self, episode: Episode) -> None:
        """Save, score and store. Raises StoreError: then it can be called again."""
        try:
            if episode.evidence is not None and not self.core.artifacts.has(episode.evidence.values()):
                if episode.sandbox is None:
                    raise SandboxError("what it is scored by is not here; let all servers share one folder `artifacts`")
                episode.evidence = None  # kept by a server that is gone, but the sandbox lives
            if episode.evidence is None:
                broken = await self._collect(episode)
                if broken is not None:
                    await self._reward(episode, broken, 0)
                    return
            if not episode.play.env.needs_sandbox(episode.play.task):
                self.core.give_back(episode)
            reward, attempts = await self._attempts(episode)
            await self._reward(episode, reward, attempts)
        except SandboxLost as error:
            await self.core.fail(
                episode, f"the sandbox was lost while scoring ({error.cause}): {error}", lost=error.cause
            )
        except Conflict:
            log.info("%s: cancelled while it was scored", episode.id)

    def _context(self, episode: Episode, sandbox: Sandbox | None) -> ScoreContext:
        return ScoreContext(
            sandbox=sandbox,
            fresh=self.core.toolbox.fresh,
            images=self.core.images,
            artifacts=self.core.artifacts,
            answer=episode.answer,
            saved=dict(episode.evidence or {}),
        )

    async def _collect(self, episode: Episode) -> Reward | None:
        """Save what scoring needs from the agent's sandbox; the reward, when the agent broke that.

        Raises SandboxError when it is gone.
        """
        play = episode.play
        saved: dict[str, str] = {}

        async def collect(sandbox: Sandbox | None) -> dict[str, str]:
            async with self._collecting:  # not while blame waits for an answer that may never come
                return await play.env.collect(play.task, self._context(episode, sandbox))

        for attempt in range(self.core.settings.score_attempts):
            try:
                found = await self.blame.collect(episode, collect)
                if isinstance(found, Reward):
                    return found
                saved = found
                break
            except SandboxLost:
                raise
            except SandboxError as error:
                if attempt + 1 == self.core.settings.score_attempts:
                    raise
                log.warning("%s: collecting failed, trying again: %s", episode.id, error)
                await asyncio.sleep(_PAUSE * 2**attempt)
        change = Change(rows=[(_SAVE, {"the_id": episode.id, "new": dump(saved)})])
        for name, digest in saved.items():
            change.rows.append((INSERT_ARTIFACT, {"episode": episode.id, "name": f"saved/{name}", "digest": digest}))
        change.events.append(happened(episode, "episode.collected", evidence=saved))
        await self.core.store.write(change)
        episode.evidence = saved
        return None

    async def _attempts(self, episode: Episode) -> tuple[Reward | SandboxError, int]:
        """The reward, or the last fault, and how many attempts it took."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return await episode.play.env.score(episode.play.task, self._context(episode, episode.sandbox)), attempt
            except SandboxError as error:
                log.warning("%s: scoring attempt %d failed: %s", episode.id, attempt, error)
                if attempt >= self.core.settings.score_attempts:
                    return error, attempt
            await self._drop_dead_sandbox(episode)
            await asyncio.sleep(_PAUSE * 2 ** (attempt - 1))

    async def _drop_dead_sandbox(self, episode: Episode) -> None:
        """Forget the agent's sandbox when it is that which died."""
        if episode.sandbox is None:
            return
        try:
            await episode.sandbox.processes()
        except SandboxError:
            self.core.give_back(episode)

    async def _reward(self, episode: Episode, reward: Reward | SandboxError, attempts: int) -> None:
        if isinstance(reward, SandboxError):
            why = f"the farm could not score it in {attempts} attempts: {reward}"
            view = verdict(episode, "error", reason=why, value=None, parts={}, evidence=dict(episode.evidence or {}))
        else:
            view = verdict(
                episode,
                "invalid" if reward.value is None else "done",
                reason=reward.reason,
                value=reward.value,
                parts=reward.parts,
                evidence=reward.evidence,
            )
        await self.core.end(episode, "scored", view, attempts=attempts)
        await self.groups.settle(episode)
