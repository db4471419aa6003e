"""Takeover: a server goes on with what a gone one drove, and one that was only slow lets go of what others took."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Any

from envfarm.orchestrator.errors import Fenced, SettingsError, StoreError
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.episodes import Episode
from envfarm.orchestrator.farm.recovery import Recovery
from envfarm.orchestrator.store.changes import Change
from envfarm.toolbox.errors import SandboxError

log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between two looks at the other servers


async def place_of(core: Core) -> str | None:
    """Where a server's sandboxes are, if others may take them over. Raises SettingsError, BackendUnavailable."""
    if not core.settings.takeover:
        return None
    if core.servers.alone:
        raise SettingsError("takeover: only servers that share a PostgreSQL can take over; set `database`")
    if (place := await core.backend.place()) is None:
        raise SettingsError(f"takeover: {core.backend.name} sandboxes end with their server; set it to false")
    return place


class Takeover:
    """Looks after the servers that share a store."""

    def __init__(self, core: Core, recovery: Recovery) -> None:
        self.core = core
        self.recovery = recovery
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(_LOOK)
            try:
                if self.core.store.fenced:
                    await self.let_go()
                await self.look()
            except Fenced:
                continue
            except (StoreError, SandboxError) as error:
                log.error("takeover: %s", error)

    async def look(self) -> None:
        """See who is gone, and take over what those drove. Raises StoreError, SandboxError (nothing is taken then)."""
        core = self.core
        await core.servers.look()
        if core.draining:
            return
        for row in await core.servers.heirless():
            boxes = {one.id for one in await core.backend.find(row.id)}
            if ids := await core.servers.take(row):
                log.warning("took over %d episodes of the server %s", len(ids), row.id)
                task = core.spawn(self._go_on(row.id, ids, boxes), f"takeover-{row.id}")
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    async def let_go(self) -> None:
        """Leave what others took over to them, with its sandboxes, and sign on again. Raises StoreError."""
        core = self.core
        for task in (begun := list(self._under_way)):
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        taken = list(core.live.values())
        log.warning("this server was taken for gone: lets go of %d episodes", len(taken))
        core.live.clear()
        for episode in taken:
            episode.taken = True
        await asyncio.gather(*(self._leave(episode) for episode in taken))
        work: set[asyncio.Task[Any]] = set()
        for episode in taken:
            step = episode.current.done if episode.current is not None else None
            work |= {one for one in (episode.work, step) if one is not None}
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        for episode in taken:
            episode.notify()
        # What is queued must still meet the fence.
        await asyncio.gather(core.store.submit(Change()), return_exceptions=True)
        await core.servers.sign_on(core.servers.place)

    async def _leave(self, episode: Episode) -> None:
        """Let go of an episode's sandbox; one that was not ready yet is nobody's, for it is started anew elsewhere."""
        if (sandbox := episode.sandbox) is None:
            return
        if episode.state in ("queued", "starting"):
            self.core.give_back(episode)
            return
        await sandbox.detach()
        self.core.toolbox.forget(sandbox)

    async def _go_on(self, owner: str, ids: Sequence[str], boxes: Collection[str]) -> None:
        while True:
            try:
                await self.recovery.take(ids)
                break
            except StoreError as error:
                log.error("takeover of %s waits: %s", owner, error)
                await asyncio.sleep(_LOOK)
        ended = await self.recovery.sweep(owner, boxes)
        log.info("went on with %d episodes of the server %s; ended %d sandboxes", len(ids), owner, ended)
