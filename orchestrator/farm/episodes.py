"""An episode that is alive in this process, and the state machine that it follows."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import bindparam, update

from envfarm.envs.base import Environment, Message
from envfarm.orchestrator.errors import Moving
from envfarm.orchestrator.schemas.episodes import (
    ENDED,
    Call,
    EpisodeLimits,
    EpisodeState,
    EventType,
    RewardView,
    StepView,
)
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import Change, EventRow
from envfarm.orchestrator.store.codec import dump, plain
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import Conflict
from envfarm.toolbox.sandboxes.base import Sandbox
from envfarm.toolbox.tools.base import State, Tool

MOVES: dict[str, frozenset[str]] = {
    "queued": frozenset({"starting", "failed", "expired", "cancelled"}),
    "starting": frozenset({"queued", "running", "failed", "expired", "cancelled"}),  # queued: its sandbox was lost
    "running": frozenset({"queued", "scoring", "failed", "expired", "cancelled"}),  # queued: before anything ran in it
    "scoring": frozenset({"scored", "failed", "cancelled"}),
}
"""Every change of state that there is."""


@dataclass(frozen=True, slots=True)
class Play:
    """What all episodes of one task share."""

    task: Task
    env: Environment
    tools: list[Tool]
    messages: list[Message]
    schemas: list[dict[str, Any]]  # of the tools, OpenAI function format


class Step:
    """One step in flight, or the last one done."""

    __slots__ = (
        "begun", "calls", "digest", "done", "key", "policy_version", "reason", "recovered", "results", "resumed",
        "saved", "started_at", "state", "step_id", "terminated", "timeout_s", "truncated", "turn", "view",
    )  # fmt: skip

    def __init__(self, step_id: str, turn: int, digest: str, calls: list[Call], *, timeout_s: float | None) -> None:
        self.step_id = step_id
        self.turn = turn
        self.digest = digest
        self.key = hashlib.blake2b(f"{turn}:{step_id}:{digest}".encode(), digest_size=9).hexdigest()
        self.calls = calls
        self.timeout_s = timeout_s
        self.policy_version: str | None = None
        self.results: list[dict[str, Any]] = []  # of the calls that are done, as CallResult
        self.started_at = time.time()
        self.state: State | None = None  # what the tools keep after the calls that are done; None: as before
        self.recovered = False  # read from the store, where its first row is
        self.resumed = False  # its next call may have been sent to the sandbox before
        self.terminated = False
        self.truncated = False
        self.reason: str | None = None
        self.begun: Change | None = None  # its first row, which its end may still join
        self.saved: asyncio.Future[None] | None = None  # when that row is durable
        self.view: StepView | None = None
        self.done: asyncio.Task[StepView] | None = None


class Recorded(Protocol):
    """What a live episode and its row in the store both say of it."""

    @property
    def id(self) -> str: ...
    @property
    def run(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def state(self) -> EpisodeState: ...
    @property
    def group_id(self) -> str | None: ...
    @property
    def rollout_index(self) -> int | None: ...
    @property
    def policy_version(self) -> str | None: ...
    @property
    def truncated(self) -> bool: ...


class Episode:
    """One live episode. Changed only by the event loop of its owner."""

    __slots__ = (
        "answer", "bare", "created_at", "current", "ended_at", "errors", "evidence", "fork_of", "forking", "group_id",
        "id", "kept", "last", "lease_s", "lease_until", "limits", "lock", "output", "play", "policy_version", "reason",
        "rested_s", "reward", "rollout_index", "run", "sandbox", "sandbox_id", "started_at", "state", "step_ids",
        "suspended_at", "suspended_until", "taken", "terminated", "tool_state", "truncated", "turn", "waiters",
        "watched", "work",
    )  # fmt: skip

    def __init__(self, id: str, run: str, play: Play, limits: EpisodeLimits, *, created_at: float) -> None:
        self.id = id
        self.run = run
        self.play = play
        self.limits = limits
        self.created_at = created_at
        self.state: EpisodeState = "queued"
        self.turn = 0
        self.group_id: str | None = None
        self.rollout_index: int | None = None
        self.policy_version: str | None = None
        self.fork_of: str | None = None
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.lease_s = 0.0
        self.lease_until = 0.0
        self.watched = 0  # entries in the heap of leases so far; the last one counts
        self.rested_s = 0.0  # of earlier suspensions
        self.suspended_at: float | None = None
        self.suspended_until: float | None = None
        self.sandbox: Sandbox | None = None
        self.sandbox_id: str | None = None
        self.bare = False  # it needs no sandbox, and never has one
        self.tool_state: State = {}  # after the steps that are done
        self.step_ids: set[str] | None = None  # of the steps done; their results are in the store
        self.current: Step | None = None
        self.forking = False  # copies of its sandbox are being made
        self.last: Step | None = None
        self.errors = 0  # tool errors so far
        self.output = 0  # bytes shown so far
        self.kept = 0  # bytes of whole outputs kept so far
        self.terminated = False
        self.truncated = False
        self.reason: str | None = None
        self.answer: str | None = None
        self.evidence: dict[str, str] | None = None
        self.reward: RewardView | None = None
        self.lock: asyncio.Lock | None = None  # held while its state is changed
        self.work: asyncio.Task[None] | None = None  # being started, or being scored
        self.waiters: set[asyncio.Future[None]] | None = None
        self.taken = False  # over, by another server: nothing of it is ours any more

    @property
    def task(self) -> str:
        """The id of its task."""
        return self.play.task.id

    @property
    def source(self) -> str:
        """Where its task comes from: the first part of the task's id."""
        return dataset_of(self.task)

    @property
    def ended(self) -> bool:
        """Whether it is in a state that it never leaves."""
        return self.state in ENDED

    @property
    def untouched(self) -> bool:
        """Whether nothing of anybody's ran in its sandbox, so that another one is as good."""
        return self.turn == 0 and self.fork_of is None and not (self.current is not None and self.current.results)

    def renew(self) -> None:
        """Let the lease start anew; while it is suspended, only that says when it ends."""
        self.lease_until = self.suspended_until or time.time() + self.lease_s

    def rested(self) -> float:
        """Seconds since its start that do not count, as it was suspended."""
        if self.suspended_at is None or self.started_at is None:
            return self.rested_s
        return self.rested_s + max(0.0, time.time() - max(self.suspended_at, self.started_at))

    def exclusive(self) -> asyncio.Lock:
        """Held while its state is changed: changes of one episode wait for each other."""
        if self.lock is None:
            self.lock = asyncio.Lock()
        return self.lock

    def notify(self) -> None:
        """Wake those who wait for a change."""
        if self.waiters:
            woken, self.waiters = self.waiters, None
            for waiter in woken:
                if not waiter.done():
                    waiter.set_result(None)

    async def wait(self, until: Callable[[Episode], bool], timeout: float | None) -> bool:
        """Wait for a condition, for at most `timeout` seconds; returns whether it holds. Raises Moving."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not until(self):
            if self.taken:
                raise Moving(f"another server took over episode {self.id}; send the same again")
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiters = self.waiters or set()
            self.waiters.add(waiter)
            try:
                await asyncio.wait([waiter], timeout=left)
            finally:
                if self.waiters is not None:
                    self.waiters.discard(waiter)
        return True


def dataset_of(task_id: str) -> str:
    """The first part of a task's id."""
    return task_id.split("/", 1)[0]


def new_ids(n: int) -> Iterator[str]:
    """Ids that rise with time (microseconds in hex), then chance."""
    global _last_stamp
    for _ in range(n):
        _last_stamp = max(_last_stamp + 1, time.time_ns() // 1000)
        yield f"ep-{_last_stamp:014x}{os.urandom(5).hex()}"


_last_stamp = 0

_GUARDED: dict[tuple[str, ...], Any] = {}


def move(episode: Recorded, to: EpisodeState, owner: str, **columns: Any) -> Change:
    """The change that takes an episode to another state, with its event; refused when its state is not what we think.

    Raises Conflict when there is no such move.
    """
    if to not in MOVES.get(episode.state, ()):
        raise Conflict(f"episode {episode.id} is {episode.state}: it cannot become {to}")
    if "reason" in columns and columns["reason"] is not None:
        columns["reason"] = plain(columns["reason"])
    names = tuple(sorted(columns))
    statement = _GUARDED.get(names)
    if statement is None:
        table = tables.episodes
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("state", *names)}
        statement = _GUARDED[names] = (
            update(table)
            .where(
                table.c.id == bindparam("the_id"),
                table.c.state == bindparam("old_state"),
                table.c.owner == bindparam("the_owner"),
            )
            .values(**values)
        )
    parameters = {f"new_{name}": value for name, value in columns.items()}
    parameters |= {"the_id": episode.id, "old_state": episode.state, "the_owner": owner, "new_state": to}
    data: dict[str, Any] = {"state": to, "from": episode.state}
    if columns.get("reason"):
        data["reason"] = columns["reason"]
    return Change(guard=(statement, parameters), events=[happened(episode, "episode.state", **data)])


def happened(episode: Recorded, type: EventType, **data: Any) -> EventRow:
    """An event of an episode."""
    return EventRow(type, episode.run, episode.id, time.time(), data)


def created(episode: Episode, owner: str) -> dict[str, Any]:
    """The first row of an episode."""
    task = episode.play.task
    return {
        "id": episode.id,
        "run": episode.run,
        "task": task.id,
        "task_digest": task.digest,
        "kind": task.kind,
        "state": episode.state,
        "owner": owner,
        "sandbox": episode.sandbox_id,
        "group_id": episode.group_id,
        "rollout_index": episode.rollout_index,
        "policy_version": episode.policy_version,
        "fork_of": episode.fork_of,
        "limits": dump(episode.limits.model_dump(exclude_none=True)),
        "terminated": False,
        "truncated": False,
        "created_at": episode.created_at,
        "started_at": episode.started_at,
        "rested_s": episode.rested_s,
    }
