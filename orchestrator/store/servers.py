"""The servers that share a store: which of them are alive, and what is said of an episode that another one drives."""

from __future__ import annotations

import time

from sqlalchemy import bindparam, select, text, update

from envfarm.orchestrator.errors import Elsewhere
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import Change
from envfarm.orchestrator.store.store import Store

_SILENT = 60.0  # seconds without a heartbeat after which a server is told as gone

_SIGN_ON = text(
    "INSERT INTO servers (id, started_at, heartbeat_at) VALUES (:id, :at, :at) "
    "ON CONFLICT (id) DO UPDATE SET started_at = excluded.started_at, heartbeat_at = excluded.heartbeat_at"
)
_BEAT = update(tables.servers).where(tables.servers.c.id == bindparam("the_id")).values(heartbeat_at=bindparam("now"))
_HEARD = select(tables.servers.c.heartbeat_at).where(tables.servers.c.id == bindparam("the_id"))


async def sign_on(store: Store, owner: str) -> None:
    """Say that a server starts. Raises StoreError."""
    await store.write(Change(rows=[(_SIGN_ON, {"id": owner, "at": time.time()})]))


async def beat(store: Store, owner: str) -> None:
    """Say that a server lives. Raises StoreError."""
    await store.write(Change(rows=[(_BEAT, {"the_id": owner, "now": time.time()})]))


async def silence(store: Store, owner: str) -> str | None:
    """That a server seems to be gone, in words; None when it was heard of lately. Raises StoreError."""
    for row in await store.rows(_HEARD, {"the_id": owner}):
        if (seconds := time.time() - row.heartbeat_at) < _SILENT:
            return None
        return f"nothing was heard for {seconds:.0f} s of its server {owner}; it goes on when that one starts again"
    return f"its server {owner} is not known"


async def elsewhere(store: Store, id: str, owner: str) -> Elsewhere:
    """The error of a call that only an episode's own server can do. Raises StoreError."""
    gone = await silence(store, owner)
    return Elsewhere(
        f"episode {id} is driven by another server, {owner}; send it there" if gone is None else f"episode {id}: {gone}"
    )
