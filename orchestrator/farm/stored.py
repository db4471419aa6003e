"""Episodes that do not live in this process: those that have ended, and those that another server drives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, select

from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.steps import Steps
from envfarm.orchestrator.farm.views import row_view
from envfarm.orchestrator.schemas.episodes import ENDED, EpisodeView, StepRequest, StepView
from envfarm.orchestrator.store import queries, tables
from envfarm.toolbox.errors import Gone, NotFound, TaskError

_OWNERS = select(tables.episodes.c.id, tables.episodes.c.owner).where(
    tables.episodes.c.id.in_(bindparam("ids", expanding=True)),
    tables.episodes.c.ended_at.is_(None),
    tables.episodes.c.deleted_at.is_(None),
)
_ROWS = 500  # ids in one query


class Stored:
    """Answers for them from the store."""

    def __init__(self, core: Core, steps: Steps) -> None:
        self.core = core
        self._steps = steps

    async def row(self, id: str, *, deleted: bool = False) -> Any:
        """The row of an episode; `deleted`: also of one that was deleted lately. Raises NotFound."""
        row = await queries.episode_row(self.core.store, id, deleted=deleted)
        if row is None:
            raise NotFound(f"no episode {id!r}")
        return row

    async def ended(self, id: str) -> Any:
        """The row of an episode that has ended. Raises NotFound, Elsewhere."""
        row = await self.row(id)
        if row.state not in ENDED:
            raise await self.core.servers.elsewhere(id, row.owner)
        return row

    async def owners(self, ids: Sequence[str]) -> dict[str, str]:
        """The servers of those of some episodes that have not ended. Raises StoreError."""
        found: dict[str, str] = {}
        if self.core.servers.alone:
            return found
        for start in range(0, len(ids), _ROWS):
            rows = await self.core.store.rows(_OWNERS, {"ids": ids[start : start + _ROWS]})
            found.update({row.id: row.owner for row in rows})
        return found

    async def ended_of(self, ids: Sequence[str]) -> list[str]:
        """Those of some episodes that no server drives, nor will after a takeover. Raises StoreError."""
        driven = await self.owners(ids)
        return [id for id in ids if id not in driven]

    async def view(self, id: str) -> EpisodeView:
        """An episode, with messages and tools where its task is still there. Raises NotFound."""
        core = self.core
        row = await self.row(id)
        try:
            play = core.play(core.registry.get(row.task))
        except (NotFound, TaskError):
            play = None
        view = row_view(row, row.turn, await queries.reward_of(core.store, id), play)
        if row.state not in ENDED:
            view.reason = await core.servers.silence(row.owner) or view.reason
        return view

    async def step(self, id: str, step_id: str, request: StepRequest | None) -> StepView | None:
        """A step's result. Raises NotFound, Elsewhere, Conflict (other calls under the same id), Gone."""
        row = await self.ended(id)
        try:
            view = await self._steps.stored(id, step_id, request)
        except NotFound:
            if request is None and row.state == "scored":
                raise
            view = None
        if view is None:
            raise Gone(f"episode {id} is {row.state} ({row.reason or 'its reward is ready'}) and takes no more steps")
        return view
