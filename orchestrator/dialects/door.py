"""The farm as one caller of `/v1` sees it, in the same process: the same checks, models and errors, without the HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from envfarm.orchestrator.http.auth import Caller
from envfarm.orchestrator.http.boundary import may_see, run_of
from envfarm.orchestrator.schemas.episodes import (
    EpisodeRequest,
    EpisodeView,
    FinishRequest,
    RewardView,
    StepRecord,
    StepRequest,
    StepView,
)
from envfarm.orchestrator.schemas.runs import LeaseView
from envfarm.orchestrator.schemas.tasks import DatasetView, TaskView
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.explain import explain

if TYPE_CHECKING:
    from envfarm.orchestrator.farm.farm import Farm

_PAGE = 1000
_RENEW = 30.0  # seconds between two heartbeats for an episode whose caller waits

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Door:
    """What a dialect may ask of the farm: each method is the endpoint of its name, for one caller."""

    farm: Farm
    caller: Caller

    async def create(self, fields: Mapping[str, Any], *, key: str | None = None) -> EpisodeView:
        """One episode; with a key the same one again. Raises as POST /v1/episodes does."""
        await self._drive()
        request = parsed(EpisodeRequest, fields)
        if request.n != 1:
            raise BadRequest("n: a session is one episode; make one for each member of the group, with its group_id")
        run = run_of(self.caller, request.run) or "default"
        [episode] = await self.farm.create(request, run=run, idempotency_key=key)
        return episode

    async def episode(self, id: str, *, wait: float = 0.0) -> EpisodeView:
        """An episode; `wait` waits so many seconds while it is queued or starting. Raises NotFound."""
        await may_see(self.farm, self.caller, id)
        return await self.farm.episode(id, wait)

    async def by_key(self, key: str, *, run: str | None = None) -> EpisodeView | None:
        """The episode that a key made; None when there is none."""
        page = await self.farm.list_episodes(run=run_of(self.caller, run) or "default", key=key, limit=1)
        return await self.farm.episode(page.items[0].id) if page.items else None

    async def step(self, id: str, fields: Mapping[str, Any]) -> StepView | None:
        """Run a step once; None when it still runs after the `wait` in its fields."""
        await self._drive()
        request = parsed(StepRequest, fields)
        await may_see(self.farm, self.caller, id)
        return await self.farm.step(id, request)

    async def last_step(self, id: str) -> StepRecord | None:
        """The step that was recorded last, with its results once it is done."""
        await may_see(self.farm, self.caller, id)
        turn = (await self.farm.episode(id)).turn
        page = await self.farm.steps(id, cursor=None if turn < 2 else _before(turn - 1), limit=2)
        return page.items[-1] if page.items else None

    async def finish(self, id: str, fields: Mapping[str, Any]) -> EpisodeView:
        """End an episode from outside and start its scoring. Raises NotFound, Gone."""
        await self._drive()
        request = parsed(FinishRequest, fields)
        await may_see(self.farm, self.caller, id)
        return await self.farm.finish(id, request)

    async def cancel(self, id: str) -> EpisodeView:
        """End an episode at once, without a score; again, it changes nothing. Raises NotFound."""
        await self._drive()
        await may_see(self.farm, self.caller, id)
        return await self.farm.cancel(id)

    async def reward(self, id: str, *, wait: float = 0.0) -> RewardView:
        """The reward, after waiting for it for at most `wait` seconds. Raises NotFound."""
        await may_see(self.farm, self.caller, id)
        return await self.farm.reward(id, wait)

    async def renew(self, id: str) -> LeaseView:
        """A heartbeat of an episode. Raises NotFound."""
        await may_see(self.farm, self.caller, id)
        return await self.farm.renew(ids=[id])

    async def keep(self, id: str) -> None:
        """Renew an episode's lease until this is cancelled: for a caller whose connection is its sign of life."""
        while True:
            await asyncio.sleep(_RENEW)
            await self.renew(id)

    async def datasets(self) -> list[DatasetView]:
        """Every dataset with its splits."""
        return (await self.farm.datasets()).items

    async def tasks(self, dataset: str, split: str | None) -> list[TaskView]:
        """Every task of a dataset, in the order that `index` counts in."""
        found: list[TaskView] = []
        cursor = None
        while True:
            page = await self.farm.tasks(dataset=dataset, split=split, cursor=cursor, limit=_PAGE)
            found += page.items
            if (cursor := page.next) is None:
                return found

    async def task(self, id: str) -> TaskView:
        """A task with its instruction. Raises NotFound, TaskError."""
        return await self.farm.task(id)

    async def tools(self, *, task: str | None = None, dataset: str | None = None) -> list[dict[str, Any]]:
        """Tools as `tools/list` of MCP has them. Raises NotFound, TaskError."""
        page = await self.farm.tools(task=task, dataset=dataset, format="mcp", limit=_PAGE)
        return [one.root for one in page.items]

    async def _drive(self) -> None:
        """Sign on again where this server was silent: what it remembers may be another's by now."""
        if self.farm.servers.lapsed:
            await self.farm.servers.hold()


def parsed(model: type[M], fields: Mapping[str, Any]) -> M:
    """A request from what a dialect's client sent. Raises BadRequest, which names the field."""
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        raise BadRequest(explain(error, model)) from None


def _before(turn: int) -> str:
    from envfarm.orchestrator.store.queries import encode

    return encode(str(turn - 1))
