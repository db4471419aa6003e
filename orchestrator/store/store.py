"""The store: one engine, migrations at start, many readers and one writer."""

from __future__ import annotations

import asyncio
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
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from envfarm.orchestrator.errors import Fenced, StoreError
from envfarm.orchestrator.store.changes import LAST_EVENT, LOCK, Batch, Change
from envfarm.orchestrator.store.errors import advice
from envfarm.orchestrator.store.writer import Writer

_MIGRATIONS = Path(__file__).parent / "migrations"


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
        self._batch = Batch()
        self._writer = Writer(self._name(), self._transact)
        self._reads: set[asyncio.Task[Sequence[Any]]] = set()
        self.last_event = 0  # id of the newest event that this server knows to be durable
        self.committed: list[Callable[[], None]] = []  # called after each commit that held events
        self.fence: tuple[Executable, dict[str, Any]] | None = None  # a SELECT without which nothing is written
        self.fenced = False  # it found no row

    async def open(self) -> None:
        """Migrate to the newest tables and start the writer; once open, it changes nothing. Raises StoreError."""
        if self._writer.running:
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
            raise StoreError(f"database {self._name()}: {advice(error)}") from error
        except StoreError:
            await self._engine.dispose()
            raise
        if self.sqlite:
            self._thread = ThreadPoolExecutor(1, "store-writer")
        self._writer.start()

    async def check(self) -> None:
        """Connect and compare the database's version with the code's; nothing is changed. Raises StoreError."""
        if self._absent():
            return
        try:
            async with self._engine.connect() as connection:
                await connection.run_sync(_check_version, self._name())
        except (SQLAlchemyError, OSError) as error:
            raise StoreError(f"database {self._name()}: {advice(error)}") from error
        finally:
            if not self._writer.running:
                await self._engine.dispose()

    async def close(self) -> None:
        """Write what is queued and let go of the database."""
        await self._writer.close()
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
            raise StoreError(f"database {self._name()}: {advice(error)}") from error

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
        """Queue a change; the future is done when it is durable, in the order of submission, or cannot be.

        `soon` lets it wait a moment for others (or for `hurry`), so that they cost one transaction.
        """
        return self._writer.submit(change, soon=soon)

    def hurry(self) -> None:
        """Write what is queued now."""
        self._writer.hurry()

    async def write(self, change: Change) -> None:
        """Make a change durable. Raises Conflict (its guard hit no row, or a key is taken), Unwritable, StoreError."""
        await asyncio.shield(self.submit(change))

    async def flush(self) -> None:
        """Wait until everything submitted so far is durable."""
        await self.write(Change())

    @asynccontextmanager
    async def exchange(self) -> AsyncIterator[AsyncConnection]:
        """A transaction beside the writer's, of rows that are asked for in it. Raises Fenced, StoreError."""
        try:
            async with self._engine.begin() as connection:
                await self._pass(connection)
                yield connection
        except (DBAPIError, OSError) as error:
            raise StoreError(f"database {self._name()}: {advice(error)}") from error

    async def _pass(self, connection: AsyncConnection) -> None:
        """See that the fence still stands, and keep it standing until the transaction ends. Raises Fenced."""
        if self.fence is None:
            return
        if (await connection.execute(*self.fence)).first() is None:
            self.fenced = True
            raise Fenced("another server took over what this one drove; send the same again")

    async def _transact(self, changes: Sequence[Change]) -> None:
        before = self.last_event
        loop = asyncio.get_running_loop()
        if self._thread is not None:
            self.last_event = await loop.run_in_executor(self._thread, self._commit_here, changes)
        else:
            async with self._engine.begin() as connection:
                await self._pass(connection)
                last = await connection.run_sync(self._batch.apply, changes, self.last_event)
            self.last_event = last
        if self.last_event > before:
            for tell in self.committed:
                loop.call_soon(tell)  # what goes wrong in there is not the changes' fault: they are durable

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
