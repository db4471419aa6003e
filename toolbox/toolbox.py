"""The one allocator of sandboxes: quotas, rate limits and the queue of those who wait, over warm pools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from envfarm.toolbox.errors import BackendUnavailable, FarmFull, SandboxError, SandboxSilent
from envfarm.toolbox.pool import Supply, now
from envfarm.toolbox.quota import RunQuota, SourceQuota
from envfarm.toolbox.sandboxes.base import Backend, Sandbox, SandboxSpec
from envfarm.toolbox.tickets import Ticket, TicketQueue

_SCORING = ""  # the "run" of sandboxes for scoring: no caller can name it
_FIRST = 1 << 30  # their priority: what was begun is finished before anything new starts


@dataclass(slots=True)
class ToolboxStats:
    """What the toolbox has now, and what it did since it was made."""

    capacity: int
    leased: int = 0
    warm: int = 0
    scoring: int = 0
    starting: int = 0
    ending: int = 0
    queued: int = 0
    warm_hits: int = 0  # sandboxes handed out that were warm
    cold_starts: int = 0  # sandboxes handed out that had to be started
    forks: int = 0  # sandboxes made as copies of leased ones
    start_failures: int = 0
    dead_warm: int = 0  # warm sandboxes found dead and replaced
    throttled: int = 0  # calls that a rate limit held back


class Toolbox:
    """Hands out the sandboxes of one back end, never more than `capacity` (and `reserve` for scoring) at once.

    `warm` is the size of the warm pool of every spec in use, `queue` the number of those who may wait in each run.
    `starts` bounds the starts in flight. A spec that nobody asked for during `idle_seconds` is no longer kept warm.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        owner: str,
        capacity: int,
        queue: int,
        warm: int = 0,
        reserve: int | None = None,
        starts: int = 16,
        idle_seconds: float = 300.0,
        probe_seconds: float = 15.0,
        tick: float = 1.0,
        max_throttle: float = 30.0,
    ) -> None:
        self.backend = backend
        self.queue = queue
        self.tick = tick
        self.max_throttle = max_throttle
        self._supply = Supply(
            backend,
            owner=owner,
            capacity=capacity,
            reserve=max(1, capacity // 8) if reserve is None else reserve,
            warm=warm,
            starts=starts,
            idle_seconds=idle_seconds,
            probe_seconds=probe_seconds,
            changed=self._pump,
        )
        self._stats = ToolboxStats(capacity)
        self._runs: dict[str, RunQuota] = {}
        self._waiting = TicketQueue(lambda run: self._run(run).live, lambda run: self._run(run).full)
        self._held: dict[str, str] = {}  # sandbox id to run
        self._keeper: asyncio.Task[None] | None = None
        self._released_at = 0.0
        self._pace = 1.0  # seconds between two releases, a moving average

    async def lease(
        self,
        spec: SandboxSpec,
        *,
        lease: str,
        run: str = "default",
        source: str = "",
        group: str | None = None,
        timeout: float = 600.0,
    ) -> Sandbox:
        """A sandbox for one episode, warm where there is one; give it back with `release`.

        `source` is where its task comes from, for a run that has quotas by source; `timeout` is in seconds.
        A cancelled caller leaves nothing behind.
        Raises FarmFull (the run's queue is full, or it took longer than `timeout`), SandboxError, ImageError.
        """
        self._supply.ask(spec)
        account = self.account(run, source)
        ticket = _ticket(spec, lease, account, group or lease, self._run(account).priority)
        try:
            async with asyncio.timeout(timeout):
                return await self._acquire(ticket)
        except TimeoutError:
            raise FarmFull(f"no sandbox within {timeout:g} s", retry_after=self.retry_after()) from None

    async def release(self, sandbox: Sandbox) -> None:
        """End a leased sandbox; returns when it is gone, and goes on in the background when cancelled."""
        run = self._held.pop(sandbox.id, None)
        if run is not None:
            self._run(run).count(-1)
            self._pace += 0.1 * (now() - self._released_at - self._pace) if self._released_at else 0.0
            self._released_at = now()
        await asyncio.wait([self._supply.end(sandbox, run == _SCORING, slot=run is not None)])

    async def fork(
        self, sandbox: Sandbox, leases: Sequence[str], *, run: str = "default", source: str = ""
    ) -> list[Sandbox]:
        """Copies of a leased sandbox, one for each lease, now or not at all; give each back with `release`.

        Nobody queues for one, for by its turn the sandbox would be another. Raises FarmFull, SandboxError.
        """
        if self._supply.closed:
            raise _shutting_down()
        account, count = self.account(run, source), len(leases)
        quota = self._run(account)
        if quota.left < count:
            message = f"run {account}: it may have {quota.left:g} more sandboxes, and {count} are asked for"
            raise FarmFull(message, retry_after=self.retry_after())
        quota.count(+count)
        self._supply.slot(False, +count)  # taken before there is room, so that no warm sandbox takes it
        try:
            if self._waiting.next() is not None or not await self._supply.fits():
                message = f"no room for {count} more sandboxes among {self._supply.capacity}"
                raise FarmFull(message, retry_after=self.retry_after())
            twins = await sandbox.fork(leases)
        except BaseException:
            quota.count(-count)
            self._supply.slot(False, -count)
            self._pump()
            raise
        self._stats.forks += count
        self._held.update({twin.id: account for twin in twins})
        return twins

    def adopt(self, sandbox: Sandbox, *, run: str = "default", source: str = "") -> None:
        """Count a sandbox that an earlier process leased, also when that is more than the capacity."""
        if sandbox.id not in self._held:
            account = self._held[sandbox.id] = self.account(run, source)
            self._run(account).count(+1)
            self._supply.slot(False, +1)

    def forget(self, sandbox: Sandbox) -> None:
        """Give back the place of a sandbox that somebody else goes on with."""
        run = self._held.pop(sandbox.id, None)
        if run is not None:
            self._run(run).count(-1)
            self._supply.slot(False, -1)
            self._pump()

    def admit(self, run: str, n: int = 1, *, source: str = "") -> None:
        """Raise FarmFull when `n` more leases of a run would not find a place in its queue, or in its source's."""
        account = self.account(run, source)
        free = max(0, self._supply.capacity - self._supply.agents) + self._supply.idle
        if self._waiting.of(account) + n > self.queue + min(free, self._run(account).left):
            raise self._full(account)

    @asynccontextmanager
    async def fresh(self, spec: SandboxSpec) -> AsyncIterator[Sandbox]:
        """A sandbox that no agent has touched, for scoring; ended at the end of the block.

        It counts against no run and is served before any lease. Hold one at a time: who waits for a second one while
        holding the first can wait for ever. Raises SandboxError, ImageError.
        """
        sandbox = await self._acquire(_ticket(spec, "scoring", _SCORING, _SCORING, _FIRST))
        try:
            yield sandbox
        except SandboxSilent as error:  # no agent was in there, so none is to be blamed
            raise SandboxError(f"a fresh sandbox does not answer: {error}") from None
        finally:
            await self.release(sandbox)

    def prewarm(self, spec: SandboxSpec, count: int) -> None:
        """Keep at least so many sandboxes of a spec warm from now on, as far as there is room."""
        self._wake()
        self._supply.prewarm(spec, count)
        self._pump()

    def set_run(
        self,
        run: str,
        *,
        max_concurrent: int | None = None,
        qps: Mapping[str, float] | None = None,
        priority: int = 0,
        sources: Mapping[str, SourceQuota] | None = None,
    ) -> None:
        """Set the quotas of a run, also for those of it who wait already; a source counts against its run, too."""
        quota = self._run(run)
        dropped = set(quota.sources) - set(sources or {})
        quota.sources = dict(sources or {}) | dict.fromkeys(dropped, SourceQuota())
        self._set(run, max_concurrent, priority)
        for source, one in quota.sources.items():
            self._set(self.account(run, source), one.max_concurrent, priority if one.priority is None else one.priority)
        quota.set_qps(qps or {})
        self._pump()

    def account(self, run: str, source: str) -> str:
        """Whom a sandbox counts against: the run, or a source in it that has quotas of its own."""
        whole = self._run(run)
        if source not in whole.sources:
            return run
        account = f"{run} {source}"  # no run's name has a space in it
        if account not in self._runs:
            self._runs[account] = RunQuota(whole=whole)
        return account

    async def throttle(self, run: str, tool: str) -> float:
        """Wait for the run's next turn to call a tool; returns the seconds it took.

        Raises FarmFull when the turn is further away than `max_throttle` seconds.
        """
        bucket = self._run(run).buckets.get(tool)
        if bucket is None:
            return 0.0
        if (wait := bucket.wait(now())) > self.max_throttle:
            message = f"run {run}: its {bucket.rate:g} calls of {tool} per second are used up"
            raise FarmFull(message, retry_after=wait - self.max_throttle)
        seconds = bucket.take(now())
        if seconds:
            self._stats.throttled += 1
            await asyncio.sleep(seconds)
        return seconds

    def retry_after(self) -> float:
        """Seconds after which a place should be free, from the pace of the last releases; from 1 to 60."""
        return min(60.0, max(1.0, self._pace * (len(self._waiting) + 1)))

    def stats(self) -> ToolboxStats:
        """Numbers of this moment."""
        scoring = sum(run == _SCORING for run in self._held.values())
        return replace(
            self._stats,
            leased=len(self._held) - scoring,
            scoring=scoring,
            warm=self._supply.idle,
            starting=self._supply.starting,
            ending=self._supply.ending,
            queued=len(self._waiting),
            start_failures=self._supply.start_failures,
            dead_warm=self._stats.dead_warm + self._supply.dead_warm,
        )

    async def close(self) -> None:
        """Refuse those who wait and end the warm sandboxes; leased ones stay with those who hold them."""
        self._supply.closed = True
        for ticket in list(self._waiting):
            self._waiting.discard(ticket)
            if not ticket.future.done():
                ticket.future.set_exception(_shutting_down())
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await self._supply.close()

    async def _acquire(self, ticket: Ticket) -> Sandbox:
        if self._supply.closed:
            raise _shutting_down()
        self._wake()
        self._waiting.push(ticket)
        self._pump()
        if not ticket.scoring and ticket in self._waiting and self._waiting.of(ticket.run) > self.queue:
            self._waiting.discard(ticket)
            raise self._full(ticket.run)
        taken = False
        try:
            sandbox = await ticket.future
            taken = True
        finally:
            if not taken:
                self._abandon(ticket)
        return sandbox

    def _abandon(self, ticket: Ticket) -> None:
        """Nobody waits for a ticket any more: a sandbox that came for it all the same is kept warm."""
        self._waiting.discard(ticket)
        future = ticket.future
        if future.done() and not future.cancelled() and future.exception() is None:
            sandbox = future.result()
            self._run(self._held.pop(sandbox.id)).count(-1)
            self._supply.park(sandbox, ticket.scoring)
        future.cancel()
        self._pump()

    def _pump(self) -> None:
        """Serve whoever can be served, then refill the pools. Called after every change."""
        if self._supply.closed:
            return
        while (ticket := self._waiting.next()) is not None:
            warm = self._supply.take(ticket.spec)
            if warm is None and not self._supply.room(ticket.scoring):
                self._supply.evict(len(self._waiting))
                return
            self._grant(ticket, warm)
        self._supply.refill()

    def _grant(self, ticket: Ticket, warm: Sandbox | None) -> None:
        self._waiting.pop(ticket)
        self._run(ticket.run).count(+1)
        if warm is None:
            self._supply.slot(ticket.scoring, +1)
            self._supply.start(ticket.spec, ticket.lease, partial(self._started, ticket))
            return
        if ticket.scoring:
            self._supply.slot(False, -1)
            self._supply.slot(True, +1)
        self._supply.look(warm, ticket.lease, partial(self._looked, ticket, warm))

    def _started(self, ticket: Ticket, task: asyncio.Task[Sandbox]) -> None:
        """A start for a ticket ended."""
        error = _shutting_down() if task.cancelled() else task.exception()
        if error is None:
            self._stats.cold_starts += 1
            self._hand_over(ticket, task.result())
            return
        self._run(ticket.run).count(-1)
        self._supply.slot(ticket.scoring, -1)
        if not ticket.future.done():
            ticket.future.set_exception(error)
        self._pump()

    def _looked(self, ticket: Ticket, sandbox: Sandbox, task: asyncio.Task[bool]) -> None:
        """A warm sandbox was looked at before it is handed over; a dead one is replaced."""
        if not task.cancelled() and task.exception() is None and task.result():
            self._stats.warm_hits += 1
            self._hand_over(ticket, sandbox)
            return
        self._stats.dead_warm += 1
        self._run(ticket.run).count(-1)
        self._supply.end(sandbox, ticket.scoring)
        if not ticket.future.done():
            if self._supply.closed:
                ticket.future.set_exception(_shutting_down())
            else:
                self._waiting.push(ticket, again=True)
        self._pump()

    def _hand_over(self, ticket: Ticket, sandbox: Sandbox) -> None:
        if ticket.future.done():  # given up in the meantime
            self._run(ticket.run).count(-1)
            self._supply.park(sandbox, ticket.scoring)
        else:
            self._held[sandbox.id] = ticket.run
            ticket.future.set_result(sandbox)
        self._pump()

    def _full(self, run: str) -> FarmFull:
        message = f"run {run}: {self._waiting.of(run)} of {self.queue} waiting places are taken"
        return FarmFull(message, retry_after=self.retry_after())

    def _wake(self) -> None:
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self.tick)
            await self._supply.keep()

    def _set(self, account: str, max_concurrent: int | None, priority: int) -> None:
        quota = self._run(account)
        quota.max_concurrent = max_concurrent
        if quota.priority != priority:
            quota.priority = priority
            self._waiting.move(account, priority)

    def _run(self, run: str) -> RunQuota:
        quota = self._runs.get(run)
        if quota is None:
            quota = self._runs[run] = RunQuota()
        return quota


def _ticket(spec: SandboxSpec, lease: str, run: str, group: str, priority: int) -> Ticket:
    future: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
    return Ticket(spec, lease, run, group, priority, run == _SCORING, future)


def _shutting_down() -> BackendUnavailable:
    return BackendUnavailable("the farm is shutting down")
