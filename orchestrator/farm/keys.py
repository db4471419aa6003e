"""Idempotency keys: what made episodes once and is sent again is answered with the same episodes."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy import Executable, bindparam, select

from envfarm.orchestrator.farm.episodes import Episode
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import INSERT_REQUEST
from envfarm.orchestrator.store.codec import dump, load
from envfarm.orchestrator.store.store import Store
from envfarm.toolbox.errors import BadRequest, Conflict

_KEY = select(tables.requests).where(
    tables.requests.c.run == bindparam("run"), tables.requests.c.key == bindparam("key")
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A key of a run, for one request."""

    run: str
    key: str
    digest: str  # of the request

    @classmethod
    def of(cls, run: str, key: str, request: dict[str, Any]) -> Claim:
        """The claim that a request makes. Raises BadRequest (the key)."""
        if not 1 <= len(key) <= 200 or not key.isprintable():
            raise BadRequest("Idempotency-Key: give 1 to 200 printable characters")
        return cls(run, key, hashlib.sha256(dump(request).encode()).hexdigest())

    def row(self, episodes: Sequence[Episode]) -> tuple[Executable, dict[str, Any]]:
        """What is stored with the episodes, in the same change."""
        ids = dump([episode.id for episode in episodes])
        row = {"run": self.run, "key": self.key, "digest": self.digest, "created_at": time.time(), "episodes": ids}
        return INSERT_REQUEST, row


class Keys:
    """The keys in use and those in the store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        # weak: a lock is there as long as somebody holds it or waits for it, and no longer
        self._busy: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def once(self, claim: Claim, make: Callable[[], Awaitable[list[Episode]]]) -> list[str]:
        """The ids of the episodes that a claim made, now or before; `make` stores its row.

        Raises Conflict (the key was used with another body), and what `make` raises.
        """
        lock = self._busy.setdefault((claim.run, claim.key), asyncio.Lock())
        async with lock:
            try:
                known = await self._made(claim)
                if known is None:
                    known = [episode.id for episode in await make()]
            except Conflict:  # another server had the same request
                known = await self._made(claim)
                if known is None:
                    raise
        return known

    async def made(self, run: str, key: str) -> list[str] | None:
        """The ids of the episodes that a key made; None: it was not used. Raises StoreError."""
        row = await self._row(run, key)
        return None if row is None else _ids(row)

    async def _made(self, claim: Claim) -> list[str] | None:
        row = await self._row(claim.run, claim.key)
        if row is None:
            return None
        if row.digest != claim.digest:
            raise Conflict(f"Idempotency-Key {claim.key!r} was used before with another body; make up a new one")
        return _ids(row)

    async def _row(self, run: str, key: str) -> Any:
        rows = await self.store.rows(_KEY, {"run": run, "key": key})
        return rows[0] if rows else None


def _ids(row: Any) -> list[str]:
    ids: list[str] = load(row.episodes)
    return ids
