"""The store: one engine, migrations at start, and a writer that commits many changes at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Executable, bindparam, event, func, insert, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from envfarm.orchestrator import tables
from envfarm.orchestrator.codec import dump
from envfarm.toolbox.errors import Conflict, FarmError

log = logging.getLogger(__name__)

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x656E7666  # PostgreSQL advisory lock: one order of event ids for all servers, and one migration at a time
_BATCH = 2000  # changes in one transaction
_SOON = 0.002  # seconds


class StoreError(FarmError):
    """The database cannot be used; the message is one line that names the fix."""

    status = 503


@dataclass(slots=True, eq=False)
class EventRow:
    """One event before it has an id."""

    type: str
    run: str
    episode: str | None
    at: float
    data: dict[str, Any]
    into: dict[str, Any] | None = None  # a row of the same change that gets the event's id as `seq`


@dataclass(slots=True, eq=False)
class Change:
    """Rows that become durable together or not at all.

    `guard` is an UPDATE that must hit exactly one row; if it does not, the change is refused with Conflict.
    `rows` are statements with parameters; equal statements of many changes are sent as one.
    """

    rows: list[tuple[Executable, dict[str, Any]]] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    guard: tuple[Executable, dict[str, Any]] | None = None
    refused: bool = False
    taken: bool = False  # by the writer: what is added now comes too late


INSERT_EVENT = insert(tables.events)
INSERT_EPISODE = insert(tables.episodes)
INSERT_STEP = insert(tables.steps)
INSERT_REWARD = insert(tables.rewards)
INSERT_REQUEST = insert(tables.requests)
_order: dict[Executable, int] = {INSERT_EPISODE: 0, INSERT_REQUEST: 1, INSERT_STEP: 2}


class Store:
    """Everything that lasts. `url` is SQLAlchemy's: `sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`."""

    def __init__(self, url: str, *, busy_timeout: float = 5.0) -> None:
        self.url = make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = (
            {"connect_args": {"timeout": busy_timeout}} if self.sqlite else {"pool_pre_ping": True}
        )
        self._engine: AsyncEngine = create_async_engine(self.url, **options)
        if self.sqlite:
            event.listen(self._engine.sync_engine, "connect", _sqlite_pragmas)
        self._queue: list[tuple[Change, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._compiled: dict[Executable, tuple[str, Callable[[dict[str, Any]], Any]]] = {}
        self._writer: asyncio.Task[None] | None = None
        self.last_event = 0  # id of the newest event that this server knows to be durable
        self.committed: list[Callable[[], None]] = []  # called after each commit that held events

    async def open(self) -> None:
        """Migrate to the newest tables and start the writer; once open, it changes nothing. Raises StoreError."""
        if self._writer is not None:
            return
        if self.sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        try:
            async with self._engine.connect() as connection:
                if self.sqlite:
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")  # else pysqlite commits before each DDL
                else:
                    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
                await connection.run_sync(_migrate, self._name())
                self.last_event = await connection.scalar(select(func.max(tables.events.c.id))) or 0
                await connection.commit()
        except (SQLAlchemyError, OSError) as error:
            await self._engine.dispose()
            raise StoreError(f"database {self._name()}: {_advice(error)}") from error
        except StoreError:
            await self._engine.dispose()
            raise
        self._writer = asyncio.create_task(self._write_forever(), name="store-writer")

    async def check(self) -> None:
        """Connect and compare the database's version with the code's; nothing is changed. Raises StoreError."""
        if self._absent():
            return
        try:
            async with self._engine.connect() as connection:
                await connection.run_sync(_check_version, self._name())
        except (SQLAlchemyError, OSError) as error:
            raise StoreError(f"database {self._name()}: {_advice(error)}") from error
        finally:
            if self._writer is None:
                await self._engine.dispose()

    async def close(self) -> None:
        """Write what is queued and let go of the database."""
        if self._writer is not None:
            await self.flush()
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            self._writer = None
        await self._engine.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read from. Raises StoreError."""
        try:
            async with self._engine.connect() as connection:
                yield connection
        except (DBAPIError, OSError) as error:
            raise StoreError(f"database {self._name()}: {_advice(error)}") from error

    async def rows(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Any]:
        """All rows of a SELECT. Raises StoreError."""
        async with self.read() as connection:
            return (await connection.execute(statement, parameters)).all()

    def submit(self, change: Change, *, soon: bool = False) -> asyncio.Future[None]:
        """Queue a change; the future is done when it is durable, in the order of submission.

        `soon` lets it wait a moment for others (or for `hurry`), so that they cost one transaction.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
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

    async def write(self, change: Change) -> None:
        """Make a change durable. Raises Conflict (its guard hit no row, or a key is taken), StoreError."""
        await asyncio.shield(self.submit(change))

    async def flush(self) -> None:
        """Wait until everything submitted so far is durable."""
        await self.write(Change())

    async def _write_forever(self) -> None:
        while True:
            await self._wake.wait()
            while self._queue:
                batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
                for change, _ in batch:
                    change.taken = True
                await self._commit(batch)
            self._wake.clear()

    async def _commit(self, batch: list[tuple[Change, asyncio.Future[None]]]) -> None:
        try:
            async with self._engine.begin() as connection:
                count = await self._apply(connection, [change for change, _ in batch])
        except (SQLAlchemyError, OSError) as error:
            if len(batch) > 1:  # one bad change must not take the others with it
                for one in batch:
                    await self._commit([one])
                return
            _settle(batch[0][1], self._failure(error))
            return
        for change, future in batch:
            _settle(future, Conflict("the state changed meanwhile; read it again") if change.refused else None)
        if count:
            self.last_event += count
            for tell in self.committed:
                tell()

    async def _apply(self, connection: AsyncConnection, changes: Sequence[Change]) -> int:
        """Run the changes of one transaction; returns how many events it holds."""
        grouped: dict[Executable, list[dict[str, Any]]] = {}
        happened: list[EventRow] = []
        for change in changes:
            if change.guard is not None:
                change.refused = (await connection.execute(*change.guard)).rowcount != 1
                if change.refused:
                    continue
            for statement, parameters in change.rows:
                grouped.setdefault(statement, []).append(parameters)
            happened.extend(change.events)
        if happened:
            grouped[INSERT_EVENT] = await self._number(connection, happened)
        for statement in sorted(grouped, key=lambda known: _order.get(known, 9)):
            sql, pick = self._driver_form(statement, grouped[statement][0])
            await connection.exec_driver_sql(sql, [pick(row) for row in grouped[statement]])
        return len(happened)

    def _driver_form(self, statement: Executable, row: dict[str, Any]) -> tuple[str, Callable[[dict[str, Any]], Any]]:
        """A statement as the driver takes it, and what makes its parameters: SQLAlchemy's own way costs 10 µs a row."""
        if statement not in self._compiled:
            assert isinstance(statement, ClauseElement)
            compiled = statement.compile(dialect=self._engine.dialect, column_keys=list(row))
            assert isinstance(compiled, SQLCompiler)
            names = compiled.positiontup or []
            pick = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
            self._compiled[statement] = str(compiled), pick
        return self._compiled[statement]

    async def _number(self, connection: AsyncConnection, happened: Sequence[EventRow]) -> list[dict[str, Any]]:
        """Give events their ids, in the order in which transactions commit."""
        if not self.sqlite:  # other servers write too
            await connection.execute(_TAKE_LOCK)
            self.last_event = await connection.scalar(_LAST_EVENT) or 0
        rows = []
        for number, happening in enumerate(happened, self.last_event + 1):
            if happening.into is not None:
                happening.into["seq"] = number
            rows.append(
                {
                    "id": number,
                    "type": happening.type,
                    "run": happening.run,
                    "episode": happening.episode,
                    "at": happening.at,
                    "data": dump(happening.data),
                }
            )
        return rows

    def _absent(self) -> bool:
        return self.sqlite and bool(self.url.database) and not Path(self.url.database or "").exists()

    def _name(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def _failure(self, error: Exception) -> FarmError:
        if isinstance(error, IntegrityError):
            return Conflict("the same id was used by another request meanwhile")
        log.error("database %s: %s", self._name(), error)
        return StoreError(f"database {self._name()}: {_advice(error)}")


_TAKE_LOCK = select(func.pg_advisory_xact_lock(bindparam("key", _LOCK)))
_LAST_EVENT = select(func.max(tables.events.c.id))


def _settle(future: asyncio.Future[None], error: FarmError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
        future.exception()  # nobody may be waiting for a write-ahead row


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _check_version(connection: Connection, name: str) -> None:
    """Raises StoreError when the database's version is none that the code knows."""
    if not inspect(connection).has_table("alembic_version"):
        return
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    for revision in connection.scalars(text("SELECT version_num FROM alembic_version")):
        if revision not in known:
            raise StoreError(
                f"database {name} was written by a newer envfarm (revision {revision}): "
                "upgrade envfarm, or set `database` to another one"
            )


def _migrate(connection: Connection, name: str) -> None:
    _check_version(connection, name)
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"database {name} cannot be migrated: {error}") from error


def _advice(error: Exception) -> str:
    """One line that says what is wrong and what to do."""
    reason = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())[:200]
    if "is locked" in reason:
        return "locked by another process; stop it, or set `database` to another file"
    if "not a database" in reason or "malformed" in reason:
        return f"unreadable ({reason}); restore it from a backup, or set `database` to another file"
    if "unable to open" in reason or "readonly" in reason or "Permission" in reason:
        return f"{reason}; check the path and its permissions, or set `database`"
    return reason
