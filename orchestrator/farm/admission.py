"""Admission: from `queued` to `running`, in the background, so that a creation never waits."""

from __future__ import annotations

import asyncio
import logging
import time

from envfarm.orchestrator.errors import StoreError
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.episodes import Episode, Play, happened
from envfarm.orchestrator.store.changes import Change
from envfarm.toolbox.errors import Conflict, FarmFault, FarmFull, ImageError, SandboxLost, StorageError
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec

log = logging.getLogger(__name__)

_PAUSE = 0.2  # seconds before the second attempt, doubled after each
_REMEMBERED = 60.0  # seconds for which a task's image, once found, is not looked for again
_FOREVER = 365 * 86400.0  # an episode waits for its place as long as its lease lives


class Admission:
    """Leases a sandbox for each queued episode, by the priority of its run, and makes it ready."""

    def __init__(self, core: Core) -> None:
        self.core = core
        # by task's id and digest: when it was found, and what it is
        self._specs: dict[tuple[str, str], tuple[float, SandboxSpec | None]] = {}
        self._early: dict[str, str] = {}  # episode to whom it counts against: not yet seen by the toolbox's queue

    def admit(self, run: str, source: str, n: int) -> None:
        """Raise FarmFull when `n` more episodes of a run's source would not find a place in the queue."""
        toolbox = self.core.toolbox
        account = toolbox.account(run, source)
        early = sum(other == account for other in self._early.values())
        toolbox.admit(run, n + early, source=source)

    def launch(self, episode: Episode) -> None:
        """Start the way of a queued episode."""
        self._early[episode.id] = self.core.toolbox.account(episode.run, episode.source)
        episode.work = self.core.spawn(self._admit(episode), f"start-{episode.id}")
        episode.work.add_done_callback(lambda _: self._early.pop(episode.id, None))

    async def again(self, episode: Episode, lost: SandboxLost) -> None:
        """Start a running episode anew whose sandbox died before anything ran in it. Raises Conflict, StoreError."""
        log.warning("%s: its sandbox was lost before its first step: %s", episode.id, lost)
        event = happened(episode, "pod.lost", cause=lost.cause)
        await self.core.change(episode, "queued", also=Change(events=[event]), sandbox=None)
        self.core.give_back(episode)
        self.launch(episode)

    async def _admit(self, episode: Episode) -> None:
        while True:
            try:
                await self.core.see_through(episode, self._to_running(episode), "the sandbox could not be started")
                return
            except Conflict:
                log.info("%s: ended while it was started", episode.id)
                self.core.give_back(episode)
                return
            except (StoreError, StorageError) as error:
                log.error("%s: its start waits: %s", episode.id, error)
                await asyncio.sleep(1.0)

    async def _to_running(self, episode: Episode) -> None:
        """Start it, in several attempts. Raises Conflict, StoreError: then it can be called again."""
        attempts = self.core.settings.start_attempts
        for attempt in range(1, attempts + 1):
            try:
                await self._start(episode)
                return
            except FarmFault as error:
                log.warning("%s: start %d of %d failed: %s", episode.id, attempt, attempts, error)
                self.core.give_back(episode)
                if attempt == attempts:
                    await self.core.fail(episode, f"no sandbox could be started in {attempts} attempts: {error}")
                    return
            if episode.state == "starting":
                await self.core.change(episode, "queued", sandbox=None)
            await asyncio.sleep(_PAUSE * 2 ** (attempt - 1))

    async def _start(self, episode: Episode) -> None:
        core, play = self.core, episode.play
        began = time.monotonic()
        while episode.sandbox is None and not episode.bare:
            found, spec = await self._spec(play)
            self._early.pop(episode.id, None)
            if spec is None:
                episode.bare = True
                break
            try:
                episode.sandbox = await self._lease(episode, spec)
            except FarmFull as full:
                await asyncio.sleep(full.retry_after)
            except ImageError:
                if found >= began:
                    raise
                # it was removed since: find or build it again
                self._specs.pop((play.task.id, play.task.digest), None)
        if episode.state == "queued":
            await core.change(episode, "starting", sandbox=None if episode.sandbox is None else episode.sandbox.id)
        if episode.sandbox is not None:
            await play.env.start(play.task, episode.sandbox)
        await core.change(episode, "running", started_at=time.time())
        episode.renew()

    async def _spec(self, play: Play) -> tuple[float, SandboxSpec | None]:
        """A task's sandbox, and when its image was found: looking for that costs as much as a warm start."""
        key = play.task.id, play.task.digest
        known = self._specs.get(key)
        if known is None or time.monotonic() - known[0] > _REMEMBERED:
            known = time.monotonic(), await play.env.spec(play.task, self.core.images)
            self._specs[key] = known
        return known

    async def _lease(self, episode: Episode, spec: SandboxSpec) -> Sandbox:
        return await self.core.toolbox.lease(
            spec,
            lease=episode.id,
            run=episode.run,
            source=episode.source,
            group=episode.group_id,
            timeout=_FOREVER,
        )
