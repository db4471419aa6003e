"""The broom: forgets rows that are too old, and ends the files that no row refers to any more."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Executable, and_, bindparam, delete, exists, func, select

from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import Change
from envfarm.toolbox.errors import FarmError

log = logging.getLogger(__name__)

_ROWS = 60.0  # seconds between two looks at the rows
_FILES = 3600.0  # at the files: each of them is looked at
_AT_ONCE = 500  # digests in one query
_MARK = ".database"  # in the folder of artefacts: which database knows what is still wanted

_FORGET = delete(tables.episodes).where(tables.episodes.c.deleted_at < bindparam("before"))
_FORGET_EVENTS = delete(tables.events).where(
    and_(
        tables.events.c.at < bindparam("before"),
        tables.events.c.id < select(func.max(tables.events.c.id)).scalar_subquery(),
    )
)
_FORGET_REQUESTS = delete(tables.requests).where(tables.requests.c.created_at < bindparam("before"))
_FORGET_SERVERS = delete(tables.servers).where(
    tables.servers.c.heartbeat_at < bindparam("before"),
    tables.servers.c.id != bindparam("me"),
    ~exists().where(tables.episodes.c.owner == tables.servers.c.id, tables.episodes.c.ended_at.is_(None)),
)
_WANTED = select(tables.artifacts.c.digest).distinct()


class Broom:
    """Sweeps the store, and the folder of artefacts."""

    def __init__(self, core: Core) -> None:
        self.core = core

    async def run(self) -> None:
        """Sweep for ever."""
        files = -math.inf
        while True:
            await asyncio.sleep(_ROWS)
            try:
                await self.rows(time.time())
                if time.monotonic() - files >= _FILES:
                    files = time.monotonic()
                    await self.files(time.time())
            except (FarmError, OSError) as error:
                log.error("not swept: %s", error)

    async def rows(self, now: float) -> None:
        """Forget what was deleted, and events, idempotency keys and servers that are too old. Raises StoreError."""
        settings = self.core.settings
        rows: list[tuple[Executable, dict[str, Any]]] = [
            (_FORGET, {"before": now - settings.keep_deleted}),
            (_FORGET_EVENTS, {"before": now - settings.keep_events}),
            (_FORGET_REQUESTS, {"before": now - settings.keep_events}),
            (_FORGET_SERVERS, {"before": now - settings.keep_events, "me": self.core.owner}),
        ]
        await self.core.store.write(Change(rows=rows))

    async def files(self, now: float) -> None:
        """End the artefacts that no row refers to and that nobody has put for long. Raises StoreError, OSError.

        A file is there before its row: `keep_files` must be longer than whatever lies between the two.
        """
        artifacts, before = self.core.artifacts, now - self.core.settings.keep_files
        if not await asyncio.to_thread(self._ours):
            return
        gone = 0
        for shelf in await asyncio.to_thread(artifacts.shelves):
            idle = await asyncio.to_thread(artifacts.idle, shelf, before)  # first: a row that comes now is not missed
            unwanted = set(idle)
            for start in range(0, len(idle), _AT_ONCE):
                some = idle[start : start + _AT_ONCE]
                found = await self.core.store.rows(_WANTED.where(tables.artifacts.c.digest.in_(some)))
                unwanted -= {row.digest for row in found}
            gone += await asyncio.to_thread(artifacts.drop, shelf, unwanted, before)
        if gone:
            log.info("ended %d artefacts that no episode refers to", gone)

    def _ours(self) -> bool:
        """Whether it is this database that says which files are wanted: with another one, all would go."""
        url, mark = self.core.store.url, self.core.artifacts.root / _MARK
        if not mark.parent.exists():  # nothing was ever put: there is nothing to end
            return False
        name = f"{url.host}:{url.port}/{url.database}"
        if self.core.store.sqlite:  # as seen from here, so that both can be moved together
            name = os.path.relpath(Path(url.database or "").absolute(), mark.parent.absolute())
        if not mark.exists():
            mark.write_text(f"{name}\n")
        if (known := mark.read_text().strip()) == name:
            return True
        log.warning(
            "%s holds the artefacts of the database %s, not of %s: no file is ended; set `data` to another folder, "
            "or remove %s if what only %s refers to may go",
            mark.parent, known, name, mark, known,
        )  # fmt: skip
        return False
