"""What every part of the farm shares: its collaborators, its live episodes, and the tasks that it spawned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import bindparam, select

from envfarm.envs.base import NO_SERVICES, Images, Services, environment
from envfarm.envs.judge.opinion import judged
from envfarm.orchestrator.errors import Moving, StoreError
from envfarm.orchestrator.farm.endings import end_columns, ending, verdict
from envfarm.orchestrator.farm.episodes import Episode, Play, happened, move
from envfarm.orchestrator.schemas.episodes import EpisodeState, RewardView
from envfarm.orchestrator.schemas.runs import RunRequest
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import Change
from envfarm.orchestrator.store.codec import load
from envfarm.orchestrator.store.events import Hub
from envfarm.orchestrator.store.servers import Servers
from envfarm.orchestrator.store.store import Store
from envfarm.tasks.registry import Registry
from envfarm.tasks.spec import Task
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import Conflict, FarmError, StorageError
from envfarm.toolbox.explain import explain
from envfarm.toolbox.quota import SourceQuota
from envfarm.toolbox.sandboxes.base import Backend, Sandbox
from envfarm.toolbox.toolbox import Toolbox
from envfarm.toolbox.tools.formats import describe

log = logging.getLogger(__name__)

T = TypeVar("T")

_PLAYS = 4096  # tasks whose tools and messages are kept in memory


@dataclass(frozen=True, slots=True)
class FarmSettings:
    """The farm's own settings. Times are in seconds. What a user can set has its default in `Settings` alone."""

    lease_seconds: float
    suspend_seconds: float
    max_turns: int
    step_timeout: float
    episode_timeout: float
    output_limit: int
    kept_outputs: int
    takeover: bool
    takeover_seconds: float
    advertise: str | None
    start_attempts: int = 3
    score_attempts: int = 3
    keep_deleted: float = 3600.0
    keep_events: float = 86400.0
    keep_files: float = 86400.0  # that no row refers to
    heartbeat: float = 5.0


_STATE = select(tables.episodes.c.state).where(tables.episodes.c.id == bindparam("the_id"))


@dataclass(slots=True)
class Core:
    """The farm's inside."""

    store: Store
    backend: Backend
    toolbox: Toolbox
    registry: Registry
    images: Images
    artifacts: Artifacts
    owner: str
    settings: FarmSettings
    services: Services = NO_SERVICES
    servers: Servers = field(init=False)
    live: dict[str, Episode] = field(default_factory=dict)
    runs: dict[str, RunRequest] = field(default_factory=dict)
    hub: Hub = field(default_factory=Hub)
    closing: bool = False
    draining: bool = False  # nothing new begins
    _plays: dict[str, Play] = field(default_factory=dict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        settings = self.settings
        self.servers = Servers(self.store, self.owner, silent=settings.takeover_seconds, url=settings.advertise)

    def play(self, task: Task) -> Play:
        """What all episodes of a task share. Raises TaskError."""
        play = self._plays.get(task.digest)
        if play is None or play.task.id != task.id:
            while len(self._plays) >= _PLAYS:
                del self._plays[next(iter(self._plays))]
            env = judged(environment(task.kind, task.path), task)
            tools = env.tools(task)
            play = Play(task, env, tools, env.messages(task), describe(tools, "openai"))
            self._plays[task.digest] = play
        return play

    def spawn(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Run something in the background until it ends or the farm closes."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_report)
        return task

    def set_run(self, run: str, request: RunRequest) -> None:
        """Let a run's quotas be in force."""
        self.runs[run] = request
        sources = {name: SourceQuota(one.max_concurrent, one.priority) for name, one in request.sources.items()}
        self.toolbox.set_run(
            run, max_concurrent=request.max_concurrent, qps=request.qps, priority=request.priority, sources=sources
        )

    async def load_runs(self) -> None:
        """Let the quotas in the store be in force."""
        for row in await self.store.rows(select(tables.runs)):
            try:
                request = RunRequest.model_validate(load(row.settings))
            except ValidationError as error:  # one bad row must not keep the farm from starting
                log.error(
                    "run %s: its quotas cannot be read, and are not in force: %s", row.id, explain(error, RunRequest)
                )
                continue
            if request != self.runs.get(row.id):
                self.set_run(row.id, request)

    def lease_seconds(self, run: str) -> float:
        """How long an idle episode of a run lives."""
        known = self.runs.get(run)
        return known.lease_s if known is not None and known.lease_s is not None else self.settings.lease_seconds

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something to its end, also when the caller goes away: half of it would leave store and memory apart."""
        return await asyncio.shield(self.spawn(work))

    async def stop(self) -> None:
        """Cancel what was spawned."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def change(self, episode: Episode, to: EpisodeState, *, also: Change | None = None, **columns: Any) -> None:
        """Take an episode to another state, durably; changes of one episode wait for each other.

        Raises Conflict when its state does not allow it, Moving, StoreError.
        """
        async with episode.exclusive():
            change = move(episode, to, self.owner, **columns)
            if also is not None:
                change.begin_with(also)
            try:
                await self.store.write(change)
            except Conflict:
                if episode.taken:
                    raise Moving(f"another server took over episode {episode.id}; send the same again") from None
                if await self._stored_state(episode) != to:  # else it did happen: an answer of the database was lost
                    raise
            episode.state = to
            for name, value in columns.items():
                if name in _MIRRORED:
                    setattr(episode, name, value)
        episode.notify()

    async def _stored_state(self, episode: Episode) -> EpisodeState:
        """Where the store has an episode; memory follows."""
        [row] = await self.store.rows(_STATE, {"the_id": episode.id})
        state: EpisodeState = row.state
        episode.state = state
        return state

    async def end(
        self,
        episode: Episode,
        state: EpisodeState,
        reward: RewardView,
        *,
        attempts: int = 0,
        also: Change | None = None,
    ) -> None:
        """Take an episode to its last state, with its reward, and give its sandbox back.

        Raises Conflict when another end came first.
        """
        mark = episode.play.task.config.envfarm.full_mark
        last, row = ending(episode, state, reward, attempts=attempts, mark=mark)
        if also is not None:
            last.begin_with(also)
        await self.change(episode, state, also=last, **end_columns(state, reward))
        reward.seq = row["seq"]
        episode.reward = reward
        self.live.pop(episode.id, None)
        episode.notify()
        self.give_back(episode)
        step = episode.current.done if episode.current is not None else None
        for task in (episode.work, step):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    def give_back(self, episode: Episode) -> None:
        """Let the toolbox end an episode's sandbox."""
        if (sandbox := episode.sandbox) is not None:
            episode.sandbox = None
            self.spawn(self._release(sandbox), f"release-{episode.id}")

    async def fail(self, episode: Episode, why: str, *, lost: str | None = None) -> None:
        """End an episode by a fault of the farm: its reward is null. Not one that goes on later, or elsewhere."""
        if self.closing or episode.taken:
            return
        also = Change(events=[happened(episode, "pod.lost", cause=lost)]) if lost is not None else None
        try:
            await self.end(episode, "failed", verdict(episode, "error", reason=why), also=also)
        except Conflict:
            log.info("%s: ended otherwise while it failed: %s", episode.id, why)

    async def see_through(self, episode: Episode, work: Coroutine[Any, Any, None], failed: str) -> None:
        """Let background work of an episode end in what it is for, or in `failed` and the reason why.

        Raises Conflict (the episode ended otherwise), StoreError and StorageError: then it can be begun again.
        """
        try:
            await work
        except (Conflict, StoreError, StorageError):
            raise
        except FarmError as error:
            await self.fail(episode, f"{failed}: {error}")
        except Exception as error:  # nobody waits who could be told: an episode must not stay where it is for ever
            log.exception("%s: %s", episode.id, failed)
            await self.fail(episode, f"{failed}: {type(error).__name__}: {error}")

    async def _release(self, sandbox: Sandbox) -> None:
        await self.toolbox.release(sandbox)


_MIRRORED = {"reason", "terminated", "truncated", "started_at", "ended_at"}


def _report(task: asyncio.Task[Any]) -> None:
    """Log what nobody foresaw: whoever waits gets it too, but nobody may be waiting."""
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, FarmError):
        log.error("%s ended unexpectedly", task.get_name(), exc_info=error)
