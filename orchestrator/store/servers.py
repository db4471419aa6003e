"""The servers that share a store: where each is, which are gone, and who takes over what those drove."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import String, bindparam, func, select, text, update

from envfarm.orchestrator.errors import Elsewhere, Moving
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import Change
from envfarm.orchestrator.store.store import Store
from envfarm.toolbox.errors import FarmError

LIVE = ("queued", "starting", "running", "scoring")
_LAPSE = 0.75  # of the silence after which others take over: from then on nothing is sent to a sandbox

_S, _E = tables.servers.c, tables.episodes.c
_SIGN_ON = text(
    "INSERT INTO servers (id, started_at, heartbeat_at, url, place, term) VALUES (:id, :at, :at, :url, :place, 1) "
    "ON CONFLICT (id) DO UPDATE SET started_at = excluded.started_at, heartbeat_at = excluded.heartbeat_at, "
    "url = excluded.url, place = excluded.place, term = servers.term + 1, left_at = NULL"
)
_THIS = select(tables.servers).where(_S.id == bindparam("the_id"))
_BEAT = update(tables.servers).where(_S.id == bindparam("the_id")).values(heartbeat_at=bindparam("now"))
_SIGN_OFF = (
    update(tables.servers)
    .where(_S.id == bindparam("the_id"), _S.term == bindparam("the_term"))
    .values(left_at=bindparam("now"))
)
# Shared, so that it waits for a server that is taking over, and one that wants to waits for the transaction.
_STANDS = select(_S.id).where(_S.id == bindparam("the_id"), _S.term == bindparam("the_term")).with_for_update(read=True)
_DRIVES = select(_E.id).where(_E.owner == bindparam("the_id"), _E.state.in_(LIVE)).limit(1)
_DEPOSE = (
    update(tables.servers)
    .where(_S.id == bindparam("the_id"), _S.term == bindparam("the_term"), _S.heartbeat_at == bindparam("last_heard"))
    .values(term=_S.term + 1, left_at=func.coalesce(_S.left_at, bindparam("now")))
)
_TAKE = (
    update(tables.episodes)
    .where(_E.owner == bindparam("the_id"), _E.state.in_(LIVE))
    .values(owner=bindparam("new_owner", type_=String))
    .returning(_E.id)
)


class Servers:
    """The servers of a store as one of them, `owner`, sees them.

    `url` is where the others reach it. `place` says where its sandboxes are: servers of one place take over from each
    other, those without one never do. A server is gone when it signed off, or when its row did not change for `silent`
    seconds by our own clock, for the servers' clocks may differ.
    """

    def __init__(self, store: Store, owner: str, *, silent: float, url: str | None = None) -> None:
        self.store = store
        self.owner = owner
        self.silent = silent
        self.url = url
        self.place: str | None = None
        self._term = 0
        self._told = time.monotonic()  # when we last began to say that we live, and were heard
        self._rows: dict[str, Any] = {}
        self._since: dict[str, float] = {}  # since when we know a server's row as it is

    @property
    def alone(self) -> bool:
        """Whether nobody else can share the store."""
        return self.store.sqlite

    @property
    def lapsed(self) -> bool:
        """Whether others may be about to take over what this server drives."""
        return self.place is not None and time.monotonic() - self._told > _LAPSE * self.silent

    async def sign_on(self, place: str | None) -> None:
        """Say that this server starts, or goes on after others took over what it drove. Raises StoreError."""
        began = time.monotonic()
        self.place = place
        self.store.fence, self.store.fenced = None, False
        row = {"id": self.owner, "at": time.time(), "url": self.url, "place": place}
        await self.store.write(Change(rows=[(_SIGN_ON, row)]))
        [row] = await self.store.rows(_THIS, {"the_id": self.owner})
        self._term = row.term
        self._told = began
        if place is not None:
            self.store.fence = _STANDS, {"the_id": self.owner, "the_term": self._term}

    async def sign_off(self) -> None:
        """Say that this server drives nothing any more. Raises StoreError."""
        row = {"the_id": self.owner, "the_term": self._term, "now": time.time()}
        await self.store.write(Change(rows=[(_SIGN_OFF, row)]))

    async def beat(self) -> None:
        """Say that this server lives. Raises StoreError."""
        began = time.monotonic()
        await self.store.write(Change(rows=[(_BEAT, {"the_id": self.owner, "now": time.time()})]))
        self._told = began

    async def hold(self) -> None:
        """See that what this server drives is still its own, before it answers for it or sends a sandbox anything.

        Others may have it by now, and what we would send could run after their next step. Raises Moving, StoreError.
        """
        if self.lapsed:
            await self.beat()
            if self.lapsed:
                raise Moving("the server could not tell for long that it lives; send the same again")

    async def look(self) -> None:
        """Read what all servers say of themselves. Raises StoreError."""
        now = time.monotonic()
        rows = {row.id: row for row in await self.store.rows(select(tables.servers))}
        self._since = {
            id: self._since[id] if id in self._since and self._rows.get(id) == row else now for id, row in rows.items()
        }
        self._rows = rows

    def gone(self, id: str) -> bool:
        """Whether a server drives nothing any more, as far as we saw."""
        row = self._rows.get(id)
        if row is None or row.left_at is not None:
            return row is not None
        return time.monotonic() - self._since[id] > self.silent

    def peers(self) -> list[str]:
        """The others that can be reached."""
        return [row.id for row in self._rows.values() if row.id != self.owner and row.url and not self.gone(row.id)]

    async def url_of(self, id: str) -> str | None:
        """Where a server is reached; None when nobody knows. Raises StoreError."""
        if id not in self._rows:
            await self.look()
        return self._rows[id].url if id in self._rows else None

    async def heirless(self) -> list[Any]:
        """The rows of gone servers of our place that drove what nobody drives now. Raises StoreError."""
        if self.place is None or self.lapsed:
            return []
        gone = [row for row in self._rows.values() if row.place == self.place and self.gone(row.id)]
        return [row for row in gone if row.id != self.owner and await self.store.rows(_DRIVES, {"the_id": row.id})]

    async def take(self, row: Any) -> list[str]:
        """Make what a gone server drove ours, in one transaction; the ids of those episodes.

        None when it was heard of since its row was read, or another server was quicker. Raises StoreError.
        """
        seen = {"the_id": row.id, "the_term": row.term, "last_heard": row.heartbeat_at, "now": time.time()}
        async with self.store.exchange() as connection:
            if (await connection.execute(_DEPOSE, seen)).rowcount != 1:
                return []
            taken = await connection.execute(_TAKE, {"the_id": row.id, "new_owner": self.owner})
            return [one.id for one in taken]

    async def silence(self, owner: str) -> str | None:
        """That a server seems to be gone, in words; None when it was heard of lately. Raises StoreError."""
        for row in await self.store.rows(_THIS, {"the_id": owner}):
            heirs = self._inherits(row)
            then = "another server takes it over" if heirs else "it goes on when that one starts again"
            if row.left_at is not None:
                return f"its server {owner} stopped; {then}"
            if (seconds := time.time() - row.heartbeat_at) < self.silent:
                return None
            return f"nothing was heard for {seconds:.0f} s of its server {owner}; {then}"
        return f"its server {owner} is not known"

    async def elsewhere(self, id: str, owner: str) -> FarmError:
        """The error of a call that only an episode's own server can do. Raises StoreError."""
        if owner == self.owner:
            return Moving(f"episode {id} is just being taken over; send the same again")
        gone = await self.silence(owner)
        if gone is None:
            return Elsewhere(f"episode {id} is driven by another server, {owner}; send it there")
        rows = await self.store.rows(_THIS, {"the_id": owner})
        if rows and (rows[0].url is not None or self._inherits(rows[0])):
            return Moving(f"episode {id}: {gone}; send the same again")
        return Elsewhere(f"episode {id}: {gone}")

    def _inherits(self, row: Any) -> bool:
        return self.place is not None and row.place == self.place
