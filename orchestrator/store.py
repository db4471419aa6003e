"""The store: one engine, migrations at start, and a writer that commits many changes at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Executable, create_engine, event, func, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from envfarm.orchestrator.changes import LAST_EVENT, LOCK, Batch, Change
from envfarm.toolbox.errors import Conflict, FarmError

log = logging.getLogger(__name__)

_MIGRATIONS = Path(__file__).parent / "migrations"
_BATCH = 2000  # changes in one transaction
_SOON = 0.002  # seconds


class StoreError(FarmError):
    """The database cannot be used; the message is one line that names the fix."""

    status = 503


class Store:
    """Everything that lasts. `url` is SQLAlchemy's: `sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`."""

    def __init__(self, url: str, *, busy_timeout: float = 5.0) -> None:
        self.url = make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = (
            {"connect_args": {"timeout": busy_timeout}} if self.sqlite else {"pool_pre_ping": True}
        )
        self._engine: AsyncEngine = create_async_engine(self.url, **options)
        self._thread: ThreadPoolExecutor | None = None  # SQLite's writer
        self._blocking: Engine | None = None
        self._connection: Connection | None = None  # its own
        if self.sqlite:
            event.listen(self._engine.sync_engine, "connect", _sqlite_pragmas)
            self._blocking = create_engine(self.url.set(drivername="sqlite"), **options)
            event.listen(self._blocking, "connect", _sqlite_pragmas)
        self._queue: list[tuple[Change, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._batch = Batch()
        self._writer: asyncio.Task[None] | None = None
        self._reads: set[asyncio.Task[Sequence[Any]]] = set()
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
                    await connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
                await connection.run_sync(_migrate, self._name())
                self.last_event = await connection.scalar(LAST_EVENT) or 0
                await connection.commit()
        except (SQLAlchemyError, OSError) as error:
            await self._engine.dispose()
            raise StoreError(f"database {self._name()}: {_advice(error)}") from error
        except StoreError:
            await self._engine.dispose()
            raise
        if self.sqlite:
            self._thread = ThreadPoolExecutor(1, "store-writer")
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
            try:
                await self.flush()
            except StoreError as error:
                log.error("what was queued at the end is not written: %s", error)
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            self._writer = None
        await asyncio.gather(*self._reads, return_exceptions=True)
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._blocking is not None:
            self._blocking.dispose()
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
        read = asyncio.get_running_loop().create_task(self._rows(statement, parameters))
        self._reads.add(read)
        read.add_done_callback(self._reads.discard)
        return await asyncio.shield(read)  # a read cut half way may not give its connection back

    async def _rows(self, statement: Executable, parameters: Mapping[str, Any] | None) -> Sequence[Any]:
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
        changes = [change for change, _ in batch]
        before = self.last_event
        try:
            if self._thread is not None:
                loop = asyncio.get_running_loop()
                self.last_event = await loop.run_in_executor(self._thread, self._commit_here, changes)
            else:
                async with self._engine.begin() as connection:
                    last = await connection.run_sync(self._batch.apply, changes, self.last_event)
                self.last_event = last
        except (
            SQLAlchemyError,
            OSError,
            TypeError,
            ValueError,
        ) as error:  # the last two are a driver's, of a bad value
            if len(batch) > 1 and not _is_down(error):  # one bad change must not take the others with it
                for one in batch:
                    await self._commit([one])
                return
            for _, future in batch:
                _settle(future, self._failure(error))
            return
        for change, future in batch:
            _settle(future, Conflict("the state changed meanwhile; read it again") if change.refused else None)
        if self.last_event > before:
            for tell in self.committed:
                tell()

    def _commit_here(self, changes: Sequence[Change]) -> int:
        """One transaction in the writer's thread: SQLite's calls there cost one hop, not one for each statement."""
        if self._connection is None:
            assert self._blocking is not None
            self._connection = self._blocking.connect()
        with self._connection.begin():
            return self._batch.apply(self._connection, changes, self.last_event)

    def _absent(self) -> bool:
        return self.sqlite and bool(self.url.database) and not Path(self.url.database or "").exists()

    def _name(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def _failure(self, error: Exception) -> FarmError:
        if isinstance(error, IntegrityError):
            return Conflict("the same id was used by another request meanwhile")
        log.error("database %s: %s", self._name(), error)
        return StoreError(f"database {self._name()}: {_advice(error)}")


def _is_down(error: Exception) -> bool:
    """Whether it is the database that failed, not what was sent to it."""
    return isinstance(error, (OperationalError, InterfaceError, OSError)) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


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
