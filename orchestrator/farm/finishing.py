"""Finishing: how a caller ends an episode: with a score, without one, or so that nothing of it is left."""

from __future__ import annotations

import time

from sqlalchemy import bindparam, update

from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.endings import verdict
from envfarm.orchestrator.farm.episodes import Episode
from envfarm.orchestrator.farm.jobs import Scoring
from envfarm.orchestrator.farm.stored import Stored
from envfarm.orchestrator.schemas.episodes import FinishRequest
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import Change
from envfarm.toolbox.errors import Conflict, Gone

_DELETE = update(tables.episodes).where(tables.episodes.c.id == bindparam("the_id")).values(deleted_at=bindparam("now"))


class Finishing:
    """Ends episodes at their callers' word; again, each changes nothing."""

    def __init__(self, core: Core, scoring: Scoring, stored: Stored) -> None:
        self.core = core
        self.scoring = scoring
        self.stored = stored

    async def finish(self, id: str, request: FinishRequest) -> None:
        """Start its scoring, after a step in flight; `abort` gives it up at once. Raises NotFound, Gone."""
        if request.reason == "abort":
            await self.cancel(id, "given up by its caller")
            return
        episode = self.core.live.get(id)
        if episode is None:
            row = await self.stored.ended(id)
            if row.state != "scored":
                raise Gone(f"episode {id} is {row.state}: {row.reason}")
            return
        episode.renew()
        await episode.wait(_between_steps, None)
        if episode.state == "running":
            episode.answer = request.answer
            terminated = request.reason == "model"
            begin = self.scoring.begin(episode, terminated=terminated, truncated=not terminated, reason=request.reason)
            try:
                await self.core.whole(begin)
            except Conflict:  # another end came first
                return
        elif episode.state in ("failed", "expired", "cancelled"):
            raise Gone(f"episode {id} is {episode.state}: {episode.reason}")

    async def cancel(self, id: str, why: str = "cancelled by its caller") -> None:
        """End it at once, without a score. Raises NotFound."""
        episode = self.core.live.get(id)
        if episode is None:
            await self.stored.ended(id)
            return
        try:
            await self.core.whole(self.core.end(episode, "cancelled", verdict(episode, "invalid", reason=why)))
        except Conflict:
            if not episode.ended:
                raise

    async def delete(self, id: str) -> None:
        """Cancel it if it lives and forget it, as long as deleted episodes are kept. Raises NotFound."""
        if id in self.core.live:
            await self.cancel(id)
        elif (await self.stored.row(id, deleted=True)).deleted_at is not None:
            return
        else:
            await self.stored.ended(id)
        await self.core.store.write(Change(rows=[(_DELETE, {"the_id": id, "now": time.time()})]))


def _between_steps(episode: Episode) -> bool:
    step = episode.current.done if episode.current is not None else None
    return episode.state not in ("queued", "starting") and (step is None or step.done())
