"""Episodes that do not live in this process: those that have ended, and those that another server drives."""

from __future__ import annotations

from typing import Any

from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.steps import Steps
from envfarm.orchestrator.farm.views import row_view
from envfarm.orchestrator.schemas.episodes import ENDED, EpisodeView, StepRequest, StepView
from envfarm.orchestrator.store import queries, servers
from envfarm.toolbox.errors import Gone, NotFound, TaskError


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
            raise await servers.elsewhere(self.core.store, id, row.owner)
        return row

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
            view.reason = await servers.silence(core.store, row.owner) or view.reason
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
