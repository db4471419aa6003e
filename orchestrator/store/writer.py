"""The writer of the store: commits many changes at once, in the order of submission, and answers every one of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from envfarm.orchestrator.errors import StoreError
from envfarm.orchestrator.store.changes import Change
from envfarm.orchestrator.store.errors import failure, is_down
from envfarm.toolbox.errors import Conflict, FarmError

log = logging.getLogger(__name__)

_BATCH = 2000  # changes in one transaction
_SOON = 0.002  # seconds

Submitted = tuple[Change, "asyncio.Future[None]"]


class Writer:
    """`transact` makes changes durable in one transaction, or raises and leaves nothing of them behind."""

    def __init__(self, name: str, transact: Callable[[Sequence[Change]], Awaitable[None]]) -> None:
        self._name = name  # of the database
        self._transact = transact
        self._queue: list[Submitted] = []
        self._taken: list[Submitted] = []  # in the transaction that runs
        self._wake = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended: str | None = "it is not open"  # why nothing is written

    @property
    def running(self) -> bool:
        """Whether what is submitted is written."""
        return self._ended is None

    def start(self) -> None:
        """Begin to write."""
        self._ended = None
        self._task = asyncio.create_task(self._write_forever(), name="store-writer")
        self._task.add_done_callback(self._over)

    async def close(self) -> None:
        """Write what is queued, and no more."""
        if self._task is None:
            return
        try:
            await asyncio.shield(self.submit(Change()))
        except StoreError as error:
            log.error("what was queued at the end is not written: %s", error)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    def submit(self, change: Change, *, soon: bool = False) -> asyncio.Future[None]:
        """Queue a change; the future is done when it is durable, or cannot be."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self._ended is not None:
            _settle(future, self._refusal())
            return future
        self._queue.append((change, future))
        if not soon:
            self._wake.set()
        elif self._alarm is None:
            self._alarm = loop.call_later(_SOON, self._ring)
        return future

    def hurry(self) -> None:
        """Write what is queued now."""
        self._wake.set()

    def _ring(self) -> None:
        self._alarm = None
        self._wake.set()

    async def _write_forever(self) -> None:
        while True:
            await self._wake.wait()
            while self._queue:
                self._taken, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
                for change, _ in self._taken:
                    change.taken = True
                await self._commit(self._taken)
            self._wake.clear()

    async def _commit(self, batch: list[Submitted]) -> None:
        # gathered, because whatever a row or a driver raises is the answer to its change, not the end of the writer
        transaction = self._transact([change for change, _ in batch])
        [error] = await asyncio.gather(transaction, return_exceptions=True)
        if error is None:
            for change, future in batch:
                _settle(future, Conflict("the state changed meanwhile; read it again") if change.refused else None)
        elif len(batch) > 1 and not is_down(error):  # one bad change must not take the others with it
            for one in batch:
                await self._commit([one])
        else:
            for _, future in batch:
                _settle(future, failure(self._name, error))

    def _over(self, task: asyncio.Task[None]) -> None:
        """Answer whoever still waits: nothing is written any more."""
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._ended = "it is closed"
        else:
            log.error("database %s: the writer ended", self._name, exc_info=error)
            self._ended = f"its writer ended ({type(error).__name__}); restart the server"
        for _, future in [*self._taken, *self._queue]:
            _settle(future, self._refusal())
        self._taken, self._queue = [], []

    def _refusal(self) -> StoreError:
        return StoreError(f"database {self._name}: {self._ended}")


def _settle(future: asyncio.Future[None], error: FarmError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
        future.exception()  # nobody may be waiting for a write-ahead row
