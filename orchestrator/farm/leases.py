"""Leases and other clockwork: one heap of deadlines for all episodes, and one heartbeat."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time

from envfarm.orchestrator.errors import Fenced, Moving, StoreError
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.endings import verdict
from envfarm.orchestrator.farm.episodes import Episode, happened
from envfarm.orchestrator.store.changes import Change
from envfarm.toolbox.errors import Conflict

log = logging.getLogger(__name__)

_TICK = 0.25  # seconds between two looks at the heap
_BEATS = 6  # signs of life in the time after which others take over
_WARN = 0.25  # of the lease left when `lease.expiring` is sent


class Leases:
    """Ends the episodes that nobody renewed."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._heap: list[tuple[float, bool, str, int]] = []  # when to look, was it warned, episode, its `watched`

    def watch(self, episode: Episode) -> None:
        """Look after an episode's lease from now on; again after a change by which it may end sooner."""
        episode.watched += 1
        self._push(episode, _warn_at(episode), warned=False)

    def _push(self, episode: Episode, at: float, *, warned: bool) -> None:
        heapq.heappush(self._heap, (at, warned, episode.id, episode.watched))

    async def run(self) -> None:
        """Do everything that is due, for ever."""
        settings, beat = self.core.settings, time.monotonic()
        pause = min(settings.heartbeat, settings.takeover_seconds / _BEATS)
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self._expire(time.time())
                if time.monotonic() - beat >= pause:
                    beat = time.monotonic()
                    await self._beat()
            except Fenced:  # until it has signed on again (envfarm.orchestrator.farm.takeover)
                continue
            except (StoreError, Moving) as error:
                log.error("leases: %s", error)
                await asyncio.sleep(1.0)

    async def _expire(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            _, warned, id, watched = heapq.heappop(self._heap)
            episode = self.core.live.get(id)
            if episode is None or episode.state == "scoring" or watched != episode.watched:
                continue
            if episode.forking or _in_step(episode):
                episode.renew()  # a sign of life: nobody can be asked to renew what waits for us
            if episode.lease_until <= now:
                await self._end(episode)
            elif _warn_at(episode) <= now:
                if not warned:
                    event = happened(episode, "lease.expiring", expires_at=episode.lease_until)
                    self.core.store.submit(Change(events=[event]))
                self._push(episode, episode.lease_until, warned=True)
            else:
                self._push(episode, _warn_at(episode), warned=False)

    async def _end(self, episode: Episode) -> None:
        why = f"its lease of {episode.lease_s:g} s was not renewed"
        if episode.suspended_until is not None:
            why = f"it was suspended, and not resumed by {time.strftime('%H:%M:%SZ', time.gmtime(episode.lease_until))}"
        also = Change(events=[happened(episode, "lease.expired")])
        try:
            await self.core.end(episode, "expired", verdict(episode, "invalid", reason=why), also=also)
        except Conflict:
            log.info("%s: ended otherwise while it expired", episode.id)
        except StoreError:
            self._push(episode, time.time() + 1, warned=True)
            raise

    async def _beat(self) -> None:
        core = self.core
        await core.servers.beat()
        if not core.store.sqlite:  # another server may have set quotas
            await core.load_runs()


def _in_step(episode: Episode) -> bool:
    return episode.current is not None and episode.current.done is not None and not episode.current.done.done()


def _warn_at(episode: Episode) -> float:
    return episode.lease_until - _WARN * episode.lease_s
