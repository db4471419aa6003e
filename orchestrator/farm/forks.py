"""Forks: new episodes that go on where a running one stands, each in a copy of its sandbox."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any

from sqlalchemy import String, bindparam, exists, insert, select

from envfarm.orchestrator.errors import Moving
from envfarm.orchestrator.farm.blame import FELL_SILENT
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.episodes import Episode, created, happened, new_ids
from envfarm.orchestrator.farm.jobs import Scoring
from envfarm.orchestrator.farm.keys import Claim, Keys
from envfarm.orchestrator.farm.leases import Leases
from envfarm.orchestrator.farm.steps import ShuttingDown
from envfarm.orchestrator.schemas.episodes import ENDED, ForkRequest
from envfarm.orchestrator.store import queries, records, tables
from envfarm.orchestrator.store.changes import INSERT_EPISODE, Change
from envfarm.toolbox.errors import Conflict, FarmError, Gone, SandboxError, SandboxLost, SandboxSilent
from envfarm.toolbox.sandboxes.base import Sandbox

log = logging.getLogger(__name__)

_TWIN, _ORIGIN = bindparam("the_twin", type_=String), bindparam("the_origin", type_=String)


def _copy(table: Any, *where: Any) -> Any:
    """A statement that gives one episode the rows that another one has in a table."""
    rest = [column for column in table.c if column.name != "episode"]
    rows = select(_TWIN, *rest).where(table.c.episode == _ORIGIN, *where)
    return insert(table).from_select(["episode", *(column.name for column in rest)], rows)


# The origin may have gone on when these run: a step that waited for the copies, or its end, is no part of them.
_BEFORE = tables.steps.c.turn < bindparam("the_turn")
_COPY_STEPS = _copy(tables.steps, _BEFORE)
_COPY_ARTIFACTS = _copy(tables.artifacts, exists().where(records.FILE_OF_STEP, _BEFORE))


class Forks:
    """Forks running episodes."""

    def __init__(self, core: Core, scoring: Scoring, keys: Keys, leases: Leases) -> None:
        self.core = core
        self.scoring = scoring
        self.keys = keys
        self.leases = leases

    async def fork(self, id: str, run: str, request: ForkRequest, key: str | None) -> list[str]:
        """The ids of the new episodes, which run and have the origin's steps; with a key, made once.

        An origin that turns out to have lost its sandbox ends, as in a step.
        Raises Conflict (it does not run yet, a step is in flight, the key), Gone, FarmFull, SandboxError, StoreError.
        """
        if key is None:
            return [twin.id for twin in await self._fork(id, request, None)]
        claim = Claim.of(run, key, {"fork": id, **request.model_dump(exclude_defaults=True)})
        return await self.keys.once(claim, lambda: self._fork(id, request, claim))

    async def _fork(self, id: str, request: ForkRequest, claim: Claim | None) -> list[Episode]:
        origin = await self._origin(id)
        if self.core.draining:
            raise Moving("the server is about to stop and forks nothing; fork again")
        await self.core.servers.hold()
        await origin.wait(lambda one: not one.forking, None)
        _at_rest(origin)
        twins = [_twin(origin, one, request) for one in new_ids(request.n)]
        origin.forking = True  # a step that comes now runs when the copies are made
        try:
            boxes = await self._copies(origin, [twin.id for twin in twins])
        except SandboxError as error:
            if origin.state != "running":  # ended meanwhile, and its sandbox with it
                raise _gone(origin.id, origin.state, origin.reason) from None
            if self.core.closing or origin.taken:
                raise ShuttingDown("the server is shutting down; fork again when it is back") from None
            if isinstance(error, SandboxLost):
                await self._lost(origin, error)
            raise
        finally:
            origin.forking = False
            origin.renew()
            origin.notify()
        for twin, box in zip(twins, boxes, strict=not origin.bare):
            twin.sandbox, twin.sandbox_id = box, box.id
        await self._begin(origin.id, twins, claim)
        return twins

    async def _copies(self, origin: Episode, leases: list[str]) -> list[Sandbox]:
        """Copies of an origin's sandbox. Raises SandboxLost (the origin's own), FarmFull, other SandboxErrors."""
        if origin.bare:
            return []
        await self._answers(origin)  # else each copy would find out for itself, when its time to start is over
        return await self.core.toolbox.fork(_sandbox(origin), leases, run=origin.run, source=origin.source)

    async def _answers(self, origin: Episode) -> None:
        """See that an origin's sandbox answers, over a new stream where its own is silent. Raises SandboxLost."""
        try:
            await _sandbox(origin).processes()
        except SandboxSilent as error:
            log.warning("%s: %s", origin.id, error)
            if not await self.scoring.blame.attach(origin):
                raise
            await _sandbox(origin).processes()

    async def _lost(self, origin: Episode, error: SandboxLost) -> None:
        """End an episode that has no sandbox to go on in, as a step ends it."""
        if not isinstance(error, SandboxSilent):
            await self.core.fail(origin, f"the sandbox was lost ({error.cause}): {error}", lost=error.cause)
            return
        with suppress(Conflict):  # ended otherwise; perhaps the agent's doing, and then no way round a score
            await self.scoring.begin(origin, terminated=False, truncated=True, reason=FELL_SILENT)

    async def _origin(self, id: str) -> Episode:
        """The live episode. Raises Gone, Elsewhere."""
        if (origin := self.core.live.get(id)) is not None:
            origin.renew()
            return origin
        row = await queries.episode_row(self.core.store, id)
        if row is not None and row.state not in ENDED:
            raise await self.core.servers.elsewhere(id, row.owner)
        raise _gone(id, "deleted" if row is None else row.state, None if row is None else row.reason)

    async def _begin(self, origin: str, twins: list[Episode], claim: Claim | None) -> None:
        """Make the twins durable, with the origin's history, and let them live; end their sandboxes when that fails."""
        core = self.core
        change = Change()
        for twin in twins:
            copy = {"the_twin": twin.id, "the_origin": origin, "the_turn": twin.turn}
            change.rows.append((INSERT_EPISODE, created(twin, core.owner)))
            change.rows.append((_COPY_STEPS, copy))
            change.rows.append((_COPY_ARTIFACTS, copy))
            about = {"state": twin.state, "task": twin.play.task.id, "fork_of": origin, "turn": twin.turn}
            change.events.append(happened(twin, "episode.state", **about))
        if claim is not None:
            change.rows.append(claim.row(twins))
        try:
            await core.store.write(change)
        except FarmError:
            for twin in twins:
                core.give_back(twin)
            raise
        for twin in twins:
            core.live[twin.id] = twin
            twin.lease_s = core.lease_seconds(twin.run)
            twin.renew()
            self.leases.watch(twin)


def _at_rest(episode: Episode) -> None:
    """See that an episode runs and is between two steps. Raises Conflict, Gone."""
    if episode.state in ("queued", "starting"):
        raise Conflict(f"episode {episode.id} is {episode.state}: wait until it runs before you fork it")
    if episode.state != "running":
        raise _gone(episode.id, episode.state, episode.reason)
    if episode.current is not None:
        step = episode.current
        raise Conflict(
            f"step {step.step_id!r} (turn {step.turn}) of episode {episode.id} has no result yet: "
            "wait for it, or send it again, before you fork"
        )


def _sandbox(episode: Episode) -> Sandbox:
    """The sandbox of an episode. Raises SandboxError."""
    if episode.sandbox is None:
        raise SandboxError(f"episode {episode.id} has no sandbox")
    return episode.sandbox


def _twin(origin: Episode, id: str, request: ForkRequest) -> Episode:
    """An episode that stands where the origin stands; what it used of its limits is used up."""
    twin = Episode(id, origin.run, origin.play, origin.limits, created_at=time.time())
    twin.state = "running"
    twin.fork_of = origin.id
    twin.group_id = request.group_id or origin.group_id
    twin.policy_version = request.policy_version or origin.policy_version
    for name in ("started_at", "turn", "last", "errors", "output", "kept", "bare", "tool_state"):
        setattr(twin, name, getattr(origin, name))
    twin.rested_s = origin.rested()
    twin.step_ids = None if origin.step_ids is None else set(origin.step_ids)
    return twin


def _gone(id: str, state: str, reason: str | None) -> Gone:
    why = f" ({reason})" if reason else ""
    return Gone(f"episode {id} is {state}{why} and cannot be forked")
