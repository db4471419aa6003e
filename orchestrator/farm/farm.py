"""The farm: everything that a caller can do, over HTTP or in the same process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select

from envfarm.orchestrator.errors import Moving, StoreError
from envfarm.orchestrator.farm import catalogue
from envfarm.orchestrator.farm.admission import Admission
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.creation import Creation
from envfarm.orchestrator.farm.episodes import Episode
from envfarm.orchestrator.farm.finishing import Finishing
from envfarm.orchestrator.farm.forks import Forks
from envfarm.orchestrator.farm.jobs import Scoring
from envfarm.orchestrator.farm.keys import Keys
from envfarm.orchestrator.farm.leases import Leases
from envfarm.orchestrator.farm.recovery import Recovery
from envfarm.orchestrator.farm.runs import Runs
from envfarm.orchestrator.farm.sampling import sample
from envfarm.orchestrator.farm.steps import Steps
from envfarm.orchestrator.farm.stored import Stored
from envfarm.orchestrator.farm.suspension import Suspension
from envfarm.orchestrator.farm.takeover import Takeover, place_of
from envfarm.orchestrator.farm.views import live_view, pending, task_view
from envfarm.orchestrator.schemas.base import Page
from envfarm.orchestrator.schemas.episodes import (
    ArtifactView,
    EpisodeRequest,
    EpisodeView,
    Event,
    FinishRequest,
    ForkRequest,
    GroupView,
    ReadyView,
    ResumeRequest,
    RewardsView,
    RewardView,
    StepRecord,
    StepRequest,
    StepView,
    SuspendRequest,
)
from envfarm.orchestrator.schemas.runs import LeaseView, RunRequest, RunView
from envfarm.orchestrator.schemas.tasks import SampleRequest, SampleView, TaskStats, TaskView, ToolFormat, ToolSchema
from envfarm.orchestrator.store import queries
from envfarm.orchestrator.store.broom import Broom
from envfarm.orchestrator.store.events import follow
from envfarm.toolbox.errors import FarmError, Gone, NotFound

_POLL = 0.5  # seconds between two looks at an episode that another server drives


class Farm:
    """Episodes from creation to reward. Give it opened to nobody before `start`, and `close` it at the end."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.store = core.store
        self.toolbox = core.toolbox
        self.registry = core.registry
        self.artifacts = core.artifacts
        self.servers = core.servers
        self._scoring = Scoring(core)
        self._admission = Admission(core)
        self._steps = Steps(core, self._scoring, self._admission)
        self._stored = Stored(core, self._steps)
        self._leases = Leases(core)
        self._finishing = Finishing(core, self._scoring, self._stored)
        self._suspension = Suspension(core, self._leases)
        self._runs = Runs(core)
        self.broom = Broom(core)
        self._recovery = Recovery(core, self._admission, self._steps, self._scoring, self._leases)
        self._takeover = Takeover(core, self._recovery)
        self._keys = keys = Keys(core.store)
        self._creation = Creation(core, keys, self._admission, self._leases)
        self._forks = Forks(core, self._scoring, keys, self._leases)

    async def start(self) -> None:
        """Open the store, take back what an earlier process left, and begin to work. Raises FarmError."""
        await self.store.open()
        self.store.committed.append(self.core.hub.tell)
        await self.servers.sign_on(await place_of(self.core))
        self.core.spawn(self._leases.run(), "leases")  # first: others must hear of us while we take back what was ours
        await self._recovery.run()
        self.core.spawn(self.broom.run(), "broom")
        if not self.servers.alone:
            self.core.spawn(self._takeover.run(), "takeover")

    async def drain(self, seconds: float) -> None:
        """Begin nothing new from now on, and wait for the steps that run, for at most `seconds`."""
        self.core.draining = True
        await self._steps.end(seconds)

    async def close(self) -> None:
        """Stop; episodes that live keep their sandboxes, and go on at the next start or on another server."""
        self.core.closing = True
        boxes = [one.sandbox for one in self.core.live.values() if one.sandbox is not None]
        await asyncio.gather(*(box.detach() for box in boxes))  # first: a command that is cancelled would be killed
        await self.core.stop()
        with suppress(StoreError):  # a store that is away or fenced has no use for it
            await self.servers.sign_off()
        await self.toolbox.close()
        await self.core.backend.close()
        await self.store.close()

    async def create(
        self, request: EpisodeRequest, *, run: str = "default", idempotency_key: str | None = None
    ) -> list[EpisodeView]:
        """Create an episode or a group, queued; sandboxes are leased in the background.

        Raises NotFound, TaskError, FarmFull, Conflict (the key was used with another body), Moving, StoreError.
        """
        if self.core.draining:
            raise Moving("the server is about to stop and takes no new episodes; create it again")
        if idempotency_key is None:
            return [live_view(one) for one in await self.core.whole(self._creation.create(request, run))]
        ids = await self.core.whole(self._creation.once(request, run, idempotency_key))
        return [await self.episode(id) for id in ids]

    async def made(self, run: str, idempotency_key: str) -> list[str] | None:
        """The ids of the episodes that a key made in a run; None: it made none. Raises StoreError."""
        return await self._keys.made(run, idempotency_key)

    async def fork(self, id: str, request: ForkRequest, *, idempotency_key: str | None = None) -> list[EpisodeView]:
        """New episodes that go on where a running one stands, each in a copy of its sandbox.

        Raises NotFound, Conflict (it does not run yet, a step is in flight, the key), Gone, FarmFull, SandboxError.
        """
        run = await self.episode_run(id)
        ids = await self.core.whole(self._forks.fork(id, run, request, idempotency_key))
        return [await self.episode(one) for one in ids]

    async def episode(self, id: str, wait: float = 0.0) -> EpisodeView:
        """An episode, after waiting for at most `wait` seconds while it is queued or starting. Raises NotFound."""
        episode = self._live(id)
        if episode is not None:
            if wait:
                await episode.wait(lambda one: one.state not in ("queued", "starting"), wait)
            return live_view(episode)
        deadline = time.monotonic() + wait
        while True:
            view = await self._stored.view(id)
            if view.state not in ("queued", "starting") or time.monotonic() >= deadline:
                return view
            await asyncio.sleep(_POLL)

    async def episode_run(self, id: str, *, deleted: bool = False) -> str:
        """The run of an episode; `deleted`: also of one that was deleted lately. Raises NotFound."""
        episode = self.core.live.get(id)
        return episode.run if episode is not None else (await self._stored.row(id, deleted=deleted)).run

    async def list_episodes(
        self, *, run: str | None = None, state: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[EpisodeView]:
        """Episodes, newest first, without messages and tools. Raises BadRequest (the cursor)."""
        return await queries.list_episodes(self.store, run=run, state=state, cursor=cursor, limit=limit)

    async def step(self, id: str, request: StepRequest) -> StepView | None:
        """Run a step once; None when it still runs after `request.wait` seconds.

        Raises NotFound, Conflict (other calls under the same id, a wrong turn, another step in flight), Gone,
        FarmFull (the run's rate limit), SandboxError.
        """
        episode = self._live(id)
        if episode is None:
            return await self._stored.step(id, request.step_id, request)
        return await self._steps.step(episode, request)

    async def step_result(self, id: str, step_id: str, wait: float = 0.0) -> StepView | None:
        """The result of a step that was sent; None when it still runs after `wait` seconds. Raises NotFound, Gone."""
        episode = self._live(id)
        if episode is None:
            return await self._stored.step(id, step_id, None)
        return await self._steps.result(episode, step_id, wait)

    async def steps(self, id: str, *, cursor: str | None = None, limit: int = 100) -> Page[StepRecord]:
        """The steps of an episode in order of turn. Raises NotFound, BadRequest (the cursor)."""
        if self._live(id) is None:
            await self._stored.row(id)
        return await queries.list_steps(self.store, id, cursor=cursor, limit=limit)

    async def artifacts_of(self, id: str, *, cursor: str | None = None, limit: int = 100) -> Page[ArtifactView]:
        """Everything that an episode kept, by name. Raises NotFound, BadRequest (the cursor)."""
        if self._live(id) is None:
            await self._stored.row(id)
        return await queries.list_artifacts(self.store, id, cursor=cursor, limit=limit)

    async def artifact(self, digest: str, *, run: str | None = None) -> Path:
        """Where a file lies; with a run, only if one of its episodes kept it. Raises BadRequest, NotFound."""
        path = self.artifacts.path(digest)
        if run is not None and not await queries.run_kept(self.store, run, digest):
            raise NotFound(f"no artefact {digest}")
        return path

    async def finish(self, id: str, request: FinishRequest) -> EpisodeView:
        """End an episode from outside and start its scoring; again, it changes nothing.

        Waits for its start and for a step in flight. `abort` gives it up at once, without a score.
        Raises NotFound, Gone.
        """
        await self._finishing.finish(id, request)
        return await self.episode(id)

    async def cancel(self, id: str) -> EpisodeView:
        """End an episode at once, without a score; again, it changes nothing. Raises NotFound."""
        await self._finishing.cancel(id)
        return await self.episode(id)

    async def delete(self, id: str) -> None:
        """Cancel an episode if it lives and forget it: from now on there is nothing of that id.

        Again, it changes nothing, for as long as deleted episodes are kept. Raises NotFound.
        """
        await self._finishing.delete(id)

    async def suspend(self, id: str, request: SuspendRequest) -> EpisodeView:
        """Let an episode rest with its sandbox, without a lease to renew, until it is resumed.

        Again, it rests from then on for as long as asked. Raises NotFound, Gone, Conflict, StoreError.
        """
        await self.core.whole(self._suspension.suspend(await self._driven(id), request))
        return await self.episode(id)

    async def resume(self, id: str, request: ResumeRequest) -> EpisodeView:
        """Let a suspended episode go on; again, it changes nothing. Raises NotFound, Gone, Conflict, StoreError."""
        await self.core.whole(self._suspension.resume(await self._driven(id), request))
        return await self.episode(id)

    async def reward(self, id: str, wait: float = 0.0) -> RewardView:
        """The reward of an episode, after waiting for it for at most `wait` seconds. Raises NotFound."""
        episode = self._live(id)
        if episode is not None:
            await episode.wait(lambda one: one.reward is not None, wait)
            return episode.reward or pending(live_view(episode, whole=False))
        deadline = time.monotonic() + wait
        while True:
            view = await self._stored.view(id)
            if view.reward is not None or time.monotonic() >= deadline:
                return view.reward or pending(view)
            await asyncio.sleep(_POLL)

    async def group(self, run: str, group: str) -> GroupView:
        """A group of episodes with their rewards. Raises NotFound, StoreError."""
        return await self._scoring.groups.view(run, group)

    async def rewards(
        self, *, run: str | None = None, after: int = 0, wait: float = 0.0, limit: int = 100
    ) -> RewardsView:
        """Rewards that became ready after a cursor, waiting for at most `wait` seconds for the first."""
        deadline = time.monotonic() + wait
        while True:
            news = self.core.hub.next()
            items = await queries.rewards(self.store, run=run, after=after, limit=limit)
            left = deadline - time.monotonic()
            if items or left <= 0:
                last = items[-1].seq if items else None
                return RewardsView(items=items, next=after if last is None else last)
            await asyncio.wait([news], timeout=min(left, 1.0))

    async def renew(self, *, run: str | None = None, ids: Sequence[str] | None = None) -> LeaseView:
        """Renew the leases of a run's live episodes, or of some; `gone` are those that have none any more."""
        live = self.core.live
        wanted = list(ids) if ids is not None else [id for id, one in live.items() if one.run == run]
        renewed = [id for id in wanted if id in live]
        for id in renewed:
            live[id].renew()
        soonest = min((live[id].lease_until for id in renewed), default=None)
        gone = await self._stored.ended_of([id for id in wanted if id not in live])
        return LeaseView(renewed=renewed, gone=gone, lease_expires_at=soonest)

    async def put_run(self, run: str, request: RunRequest) -> RunView:
        """Set a run's quotas, also for its episodes that live."""
        await self._runs.put(run, request)
        return await self._runs.get(run)

    async def run(self, run: str) -> RunView:
        """A run with its quotas and its episodes by state. Raises NotFound."""
        return await self._runs.get(run)

    def events(self, *, run: str | None = None, after: int | None = None) -> AsyncIterator[Event]:
        """Every event after an id (None: only new ones), for ever. Raises StoreError."""
        return follow(self.store, self.core.hub, run=run, after=self.store.last_event if after is None else after)

    async def stats(
        self, *, dataset: str | None = None, run: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[TaskStats]:
        """How each task went. Raises BadRequest (the cursor)."""
        return await queries.task_stats(self.store, dataset=dataset, run=run, cursor=cursor, limit=limit)

    async def sample(self, request: SampleRequest) -> SampleView:
        """Tasks drawn by how they went so far. Raises TaskError, StoreError."""
        chosen = catalogue.select_tasks(self.registry, dataset=request.dataset, split=request.split, kind=request.kind)
        records = await queries.records(self.store, run=request.run, policy_version=request.policy_version)
        return sample(chosen, records, request)

    async def tasks(
        self,
        *,
        dataset: str | None = None,
        split: str | None = None,
        kind: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[TaskView]:
        """Tasks by id. Raises BadRequest (the cursor)."""
        chosen = catalogue.select_tasks(self.registry, dataset=dataset, split=split, kind=kind)
        return catalogue.page(chosen, cursor=cursor, limit=limit)

    async def task(self, id: str) -> TaskView:
        """A task with its instruction. Raises NotFound, TaskError."""
        return task_view(self.registry.get(id), whole=True)

    async def tools(
        self,
        *,
        kind: str | None = None,
        dataset: str | None = None,
        task: str | None = None,
        format: ToolFormat = "openai",
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[ToolSchema]:
        """The tools of a task, of a dataset's tasks, or of every task, in the order in which a model is told of them.

        Raises NotFound, TaskError, BadRequest (the cursor).
        """
        chosen = catalogue.select_tasks(self.registry, dataset=dataset, kind=kind)
        plays = [self.core.play(one) for one in ([self.registry.get(task)] if task is not None else chosen)]
        tools = {tool.name: tool for play in plays for tool in play.tools}
        return catalogue.page_of_tools(tools, format=format, cursor=cursor, limit=limit)

    async def ready(self) -> ReadyView:
        """Whether episodes can be served."""
        checks = {"store": "ok", "backend": "ok"}
        if self.core.draining:
            checks["server"] = "it is about to stop"
        try:
            await self.store.rows(select(1))
        except StoreError as error:
            checks["store"] = str(error)
        try:
            await self.core.backend.find(self.core.owner)
        except FarmError as error:
            checks["backend"] = str(error)
        return ReadyView(ready=all(value == "ok" for value in checks.values()), checks=checks)

    async def owners(self, ids: Collection[str]) -> dict[str, str]:
        """The servers that drive those of some episodes that other servers drive. Raises StoreError."""
        found = await self._stored.owners([id for id in ids if id not in self.core.live])
        return {id: owner for id, owner in found.items() if owner != self.core.owner}

    def counts(self) -> dict[str, int]:
        """Live episodes by state."""
        counts: dict[str, int] = {}
        for episode in self.core.live.values():
            counts[episode.state] = counts.get(episode.state, 0) + 1
        return counts

    def _live(self, id: str) -> Episode | None:
        """A live episode that a call is about, which renews its lease."""
        episode = self.core.live.get(id)
        if episode is not None:
            episode.renew()
        return episode

    async def _driven(self, id: str) -> Episode:
        """A live episode of this server. Raises NotFound, Elsewhere, Gone."""
        if (episode := self._live(id)) is not None:
            return episode
        row = await self._stored.ended(id)
        raise Gone(f"episode {id} is {row.state} ({row.reason or 'its reward is ready'})")
