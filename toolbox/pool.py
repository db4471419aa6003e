"""Warm sandboxes: the pool of one spec, and the supply that keeps all pools filled within the farm's capacity."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from envfarm.toolbox.errors import FarmError, SandboxError
from envfarm.toolbox.prepare import start_prepared
from envfarm.toolbox.sandboxes.base import WARM, Backend, Sandbox, SandboxSpec

logger = logging.getLogger(__name__)

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0
_PROBE_TIMEOUT = 5.0
_SHUTDOWN = 30.0

T = TypeVar("T")


@dataclass(slots=True)
class Pool:
    """Sandboxes of equal spec that wait for their first lease, and how many there should be."""

    spec: SandboxSpec
    target: int = 0
    idle: deque[Sandbox] = field(default_factory=deque)
    warming: int = 0  # being started for this pool
    asked: int = 0  # leases since the pool was made
    used: float = 0.0  # when it was last asked for one
    failures: int = 0  # starts in a row that failed
    resumes: float = 0.0  # no background start before this moment

    @property
    def wanted(self) -> int:
        """Sandboxes to start now."""
        return max(0, self.target - len(self.idle) - self.warming)

    def failed(self, now: float) -> None:
        """A start failed: pause background starts, twice as long each time, with jitter so that pools spread out."""
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self.failures)
        self.failures = min(self.failures + 1, 16)
        self.resumes = now + pause * random.uniform(0.75, 1.25)

    def succeeded(self) -> None:
        """A start worked."""
        self.failures = 0
        self.resumes = 0.0


class Supply:
    """Starts, keeps and ends sandboxes; each holds a slot from before its start until it is gone.

    Agents' sandboxes have `capacity` slots, those for scoring `reserve` more and what agents leave over.
    `changed` is called after every change, so that whoever waits can be served.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        owner: str,
        capacity: int,
        reserve: int,
        warm: int,
        starts: int,
        idle_seconds: float,
        probe_seconds: float,
        changed: Callable[[], None],
    ) -> None:
        self.backend = backend
        self.owner = owner
        self.capacity = capacity
        self.reserve = reserve
        self.warm = warm
        self.idle_seconds = idle_seconds
        self.probe_seconds = probe_seconds
        self.changed = changed
        self.agents = 0  # slots in use: leased, warm, being started, being ended
        self.scoring = 0  # the same, of sandboxes for scoring
        self.start_failures = 0
        self.dead_warm = 0
        self.closed = False
        self._pools: dict[SandboxSpec, Pool] = {}
        self._starts = starts
        self._gate = asyncio.Semaphore(starts)
        self._starting: set[asyncio.Task[Any]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._undead: list[tuple[Sandbox, bool]] = []  # could not be ended; they keep their slots
        self._probed = 0.0

    @property
    def idle(self) -> int:
        """Warm sandboxes."""
        return sum(len(pool.idle) for pool in self._pools.values())

    @property
    def starting(self) -> int:
        """Starts, and looks at warm sandboxes before they are handed out, in flight."""
        return len(self._starting)

    @property
    def ending(self) -> int:
        """Sandboxes being ended."""
        return len(self._ending)

    def room(self, scoring: bool) -> bool:
        """Whether one more may be started."""
        if self.agents + self.scoring >= self.capacity + self.reserve:
            return False
        return scoring or self.agents < self.capacity

    def slot(self, scoring: bool, change: int) -> None:
        """Take or give back slots."""
        if scoring:
            self.scoring += change
        else:
            self.agents += change

    def ask(self, spec: SandboxSpec) -> None:
        """Note a lease. From the second on the spec is kept warm: an evaluation asks for most of its tasks once."""
        pool = self._pool(spec)
        pool.asked += 1
        pool.used = now()
        if pool.asked > 1:
            pool.target = max(pool.target, self.warm)

    def prewarm(self, spec: SandboxSpec, count: int) -> None:
        """Keep at least so many of a spec warm."""
        pool = self._pool(spec)
        pool.used = now()
        pool.target = max(pool.target, count)

    def take(self, spec: SandboxSpec) -> Sandbox | None:
        """The warm sandbox of a spec that has waited longest, with its slot."""
        pool = self._pools.get(spec)
        return pool.idle.popleft() if pool is not None and pool.idle else None

    def park(self, sandbox: Sandbox, scoring: bool) -> None:
        """Put an untouched sandbox into its pool, or end it where there is no room for another warm one."""
        if self.closed or self.agents > self.capacity or (scoring and self.agents >= self.capacity):
            self.end(sandbox, scoring)
            return
        if scoring:
            self.slot(True, -1)
            self.slot(False, +1)
        self._pool(sandbox.spec).idle.append(sandbox)

    def evict(self, count: int) -> None:
        """Make sure that `count` slots are about to be free, as far as warm sandboxes hold them: oldest spec first."""
        while len(self._ending) < count:
            pools = [pool for pool in self._pools.values() if pool.idle]
            if not pools:
                return
            self.end(min(pools, key=lambda pool: pool.used).idle.popleft())

    async def fits(self) -> bool:
        """Whether what holds slots now is no more than may, after ending warm sandboxes where that helps."""
        while (
            excess := max(self.agents - self.capacity, self.agents + self.scoring - self.capacity - self.reserve)
        ) > 0:
            self.evict(excess)
            if not self._ending:
                return False
            await asyncio.wait(self._ending, return_when=asyncio.FIRST_COMPLETED)
        return True

    def start(self, spec: SandboxSpec, lease: str, done: Callable[[asyncio.Task[Sandbox]], None]) -> None:
        """Start a sandbox in the background, in a slot that the caller took; `done` gets the ended task."""
        self._spawn(self._start(spec, lease), partial(self._started, self._pool(spec), done))

    def look(self, sandbox: Sandbox, lease: str, done: Callable[[asyncio.Task[bool]], None]) -> None:
        """See in the background whether a warm sandbox lives, and claim it: others may have it too."""
        self._spawn(self._claimed(sandbox, lease), done)

    def end(self, sandbox: Sandbox, scoring: bool = False, *, slot: bool = True) -> asyncio.Task[None]:
        """End a sandbox in the background; its slot is free when it is gone."""
        task = asyncio.create_task(sandbox.close())
        self._ending.add(task)
        task.add_done_callback(partial(self._ended, sandbox, scoring, slot))
        return task

    def refill(self) -> None:
        """Start what the pools want, as far as there is room and no pool pauses after a failure."""
        for pool in list(self._pools.values()):
            while pool.wanted and pool.resumes <= now() and len(self._starting) < self._starts and self.room(False):
                pool.warming += 1
                self.slot(False, +1)
                self.start(pool.spec, WARM, partial(self._warmed, pool))

    async def keep(self) -> None:
        """One look at everything: unused pools are emptied, dead warm sandboxes replaced, failed ends tried again."""
        undead, self._undead = self._undead, []
        for sandbox, scoring in undead:
            self.end(sandbox, scoring)
        for pool in [pool for pool in self._pools.values() if now() - pool.used > self.idle_seconds]:
            pool.target = 0
            while pool.idle:
                self.end(pool.idle.popleft())
            if not pool.warming:
                del self._pools[pool.spec]
        if now() - self._probed >= self.probe_seconds:
            self._probed = now()
            await asyncio.gather(*(self._probe(pool) for pool in list(self._pools.values())))
        self.changed()

    async def close(self) -> None:
        """Give up starts in flight and end the warm sandboxes."""
        self.closed = True
        for task in self._starting:
            task.cancel()
        if self._starting:
            await asyncio.wait(self._starting, timeout=_SHUTDOWN)
        for pool in self._pools.values():
            while pool.idle:
                self.end(pool.idle.popleft())
        if self._ending:
            await asyncio.wait(self._ending, timeout=_SHUTDOWN)

    def _pool(self, spec: SandboxSpec) -> Pool:
        pool = self._pools.get(spec)
        if pool is None:
            pool = self._pools[spec] = Pool(spec, used=now())
        return pool

    async def _start(self, spec: SandboxSpec, lease: str) -> Sandbox:
        async with self._gate:
            return await start_prepared(self.backend, spec, owner=self.owner, lease=lease)

    def _spawn(self, work: Coroutine[Any, Any, T], done: Callable[[asyncio.Task[T]], None]) -> None:
        task = asyncio.create_task(work)
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        task.add_done_callback(done)

    def _started(self, pool: Pool, done: Callable[[asyncio.Task[Sandbox]], None], task: asyncio.Task[Sandbox]) -> None:
        if not task.cancelled():
            if task.exception() is None:
                pool.succeeded()
            else:
                self.start_failures += 1
                pool.failed(now())
        done(task)

    def _warmed(self, pool: Pool, task: asyncio.Task[Sandbox]) -> None:
        pool.warming -= 1
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            self.slot(False, -1)
            if error is not None:
                level = logging.WARNING if isinstance(error, FarmError) else logging.ERROR
                logger.log(level, "cannot warm %s, trying again in the background: %s", pool.spec.image, error)
        else:
            self.park(task.result(), False)
        self.changed()

    def _ended(self, sandbox: Sandbox, scoring: bool, slot: bool, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.warning("cannot end sandbox %s, trying again in the background: %s", sandbox.id, error)
            if slot:
                self._undead.append((sandbox, scoring))
        elif slot:
            self.slot(scoring, -1)
        self.changed()

    async def _probe(self, pool: Pool) -> None:
        warm = list(pool.idle)
        alive = await asyncio.gather(*(self._alive(sandbox) for sandbox in warm))
        for sandbox, lives in zip(warm, alive, strict=True):
            if not lives and sandbox in pool.idle:
                pool.idle.remove(sandbox)
                self.dead_warm += 1
                self.end(sandbox)

    async def _claimed(self, sandbox: Sandbox, lease: str) -> bool:
        claim = self.backend.claim(sandbox, owner=self.owner, lease=lease)
        return all(await asyncio.gather(self._alive(sandbox), claim))  # both at once: each is a way there and back

    async def _alive(self, sandbox: Sandbox) -> bool:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                await sandbox.processes()  # answered without starting one: a run would cost the caller two forks
        except (SandboxError, TimeoutError):
            return False
        return True


def now() -> float:
    """Seconds on the event loop's clock."""
    return asyncio.get_running_loop().time()
