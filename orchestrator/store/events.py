"""Events: read from the store in the order of their ids, so that a reader resumes after any of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sqlalchemy import bindparam, select

from envfarm.orchestrator.schemas.episodes import Event
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.codec import load
from envfarm.orchestrator.store.store import Store

_PAGE = 500
_POLL = 1.0  # seconds; other servers' events on a shared database wake nobody here

_ALL = select(tables.events).where(tables.events.c.id > bindparam("after")).order_by(tables.events.c.id).limit(_PAGE)
_OF_RUN = _ALL.where(tables.events.c.run == bindparam("run"))


class Hub:
    """Wakes readers when this process has committed events."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def tell(self) -> None:
        """Wake every reader."""
        if self._next is not None:
            self._next.set_result(None)
            self._next = None

    def next(self) -> asyncio.Future[None]:
        """Done at the next commit; take it before you read, so that nothing falls between."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return self._next


async def follow(store: Store, hub: Hub, *, run: str | None, after: int) -> AsyncIterator[Event]:
    """Every event after an id, those to come too; it never ends. Raises StoreError."""
    statement = _ALL if run is None else _OF_RUN
    while True:
        news = hub.next()
        horizon = store.last_event  # everything up to here is in the answer that follows
        for row in await store.rows(statement, {"after": after} if run is None else {"after": after, "run": run}):
            after = row.id
            horizon = 0
            yield Event(id=row.id, type=row.type, run=row.run, episode=row.episode, at=row.at, data=load(row.data))
        after = max(after, horizon)
        if horizon:
            await asyncio.wait([news], timeout=_POLL)
