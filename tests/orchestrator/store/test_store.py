"""The store, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, select, text, update
from sqlalchemy.ext.asyncio import create_async_engine

from envfarm.orchestrator.errors import StoreError, Unwritable
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import Change, EventRow
from envfarm.orchestrator.store.store import Store
from envfarm.toolbox.errors import Conflict

INSERT_RUN = insert(tables.runs)


def run_row(id: str) -> dict[str, Any]:
    return {"id": id, "settings": "{}", "created_at": 1.0}


def event(type: str = "test", **more: Any) -> EventRow:
    return EventRow(type, "run", None, time.time(), {}, **more)


async def test_what_is_written_is_there_after_a_restart(database: str) -> None:
    first = Store(database)
    await first.open()
    await first.write(Change(rows=[(INSERT_RUN, run_row("a"))], events=[event()]))
    await first.close()
    second = Store(database)
    await second.open()
    assert [row.id for row in await second.rows(select(tables.runs))] == ["a"]
    assert second.last_event == 1
    await second.close()


async def test_migrations_make_the_tables_of_the_code(store: Store) -> None:
    async with store.read() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), tables.metadata)
        )
    assert differences == []


async def test_concurrent_changes_keep_their_order_and_share_transactions(store: Store) -> None:
    commits = []
    store.committed.append(lambda: commits.append(1))
    await asyncio.gather(*(store.write(Change(events=[event(f"t{number}")])) for number in range(1000)))
    rows = await store.rows(select(tables.events).order_by(tables.events.c.id))
    assert [row.type for row in rows] == [f"t{number}" for number in range(1000)]
    assert [row.id for row in rows] == list(range(1, 1001))
    assert len(commits) < 100


async def test_one_bad_change_does_not_take_others_with_it(store: Store) -> None:
    await store.write(Change(rows=[(INSERT_RUN, run_row("taken"))]))
    results = await asyncio.gather(
        *(store.write(Change(rows=[(INSERT_RUN, run_row(id))], events=[event(id)])) for id in ("a", "taken", "b")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), Conflict, type(None)]
    assert {row.id for row in await store.rows(select(tables.runs))} == {"taken", "a", "b"}
    assert {row.type for row in await store.rows(select(tables.events))} == {"a", "b"}


async def test_a_change_that_no_database_takes_costs_only_itself(store: Store) -> None:
    by_hand = text("INSERT INTO runs (id, settings, created_at) VALUES (:id, :settings, :at)")
    changes = {
        "before": Change(rows=[(INSERT_RUN, run_row("before"))]),
        "incomplete": Change(rows=[(by_hand, {"id": "incomplete"})]),
        "huge": Change(rows=[(INSERT_RUN, {**run_row("huge"), "created_at": 10**400})]),
        "no text": Change(rows=[(INSERT_RUN, {**run_row("no text"), "settings": object()})]),
        "no JSON": Change(events=[EventRow("test", "run", None, 1.0, {"x": object()})]),
        "a guard": Change(guard=(update(tables.runs).where(tables.runs.c.created_at == object()), {"settings": ""})),
        "no parameters": Change(rows=[(text("UPDATE runs SET created_at = 1.0"), {})]),
        "after": Change(rows=[(INSERT_RUN, run_row("after"))]),
    }
    async with asyncio.timeout(30):
        results = await asyncio.gather(*(store.write(one) for one in changes.values()), return_exceptions=True)
        await store.write(Change(rows=[(INSERT_RUN, run_row("later"))]))
    refused = {name for name, result in zip(changes, results, strict=True) if isinstance(result, Unwritable)}
    assert refused == {"incomplete", "huge", "no text", "no JSON", "a guard"}
    assert all(result is None or "\n" not in str(result) for result in results)
    assert {row.id for row in await store.rows(select(tables.runs))} == {"before", "after", "later"}


async def test_rows_with_other_columns_are_written_as_they_are(store: Store) -> None:
    insert_stats = insert(tables.task_stats)
    row = dict.fromkeys(("attempts", "passes", "invalid", "total", "updated_at"), 0) | {"run": "r", "task": "t"}
    rows = [
        {**row, "policy_version": "short"},
        {"ema": 0.5, **row, "policy_version": "long"},
        {**row, "policy_version": "short too"},
    ]
    await store.write(Change(rows=[(insert_stats, one) for one in rows]))
    found = await store.rows(select(tables.task_stats))
    assert {row.policy_version: row.ema for row in found} == {"short": None, "long": 0.5, "short too": None}


async def test_who_listens_for_commits_and_fails_costs_no_write(store: Store) -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["exception"]))
    store.committed.append(lambda: {}["nobody foresaw this"])
    async with asyncio.timeout(30):
        for _ in range(3):
            await store.write(Change(events=[event()]))
    assert len(await store.rows(select(tables.events))) == 3
    assert [type(one) for one in said] == [KeyError] * 3


async def test_a_write_is_answered_before_the_start_and_after_the_end(database: str) -> None:
    store = Store(database)
    with pytest.raises(StoreError, match="not open"):
        await store.write(Change())
    await store.open()
    late = store.submit(Change(rows=[(INSERT_RUN, run_row("queued"))]), soon=True)
    await store.close()
    assert late.done()
    assert late.exception() is None
    with pytest.raises(StoreError, match="closed"):
        await store.write(Change())


async def test_a_guard_that_hits_no_row_refuses_its_change_alone(store: Store) -> None:
    await store.write(Change(rows=[(INSERT_RUN, run_row("a"))]))
    runs = tables.runs

    def guarded(expected: str, new: str) -> Change:
        where = update(runs).where(runs.c.id == "a", runs.c.settings == expected).values(settings=new)
        return Change(guard=(where, {}), events=[event(new)])

    results = await asyncio.gather(
        *(store.write(guarded("{}", new)) for new in ("first", "second")), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], Conflict)
    assert [row.type for row in await store.rows(select(tables.events))] == ["first"]


async def test_a_row_gets_the_id_of_its_event(store: Store) -> None:
    await store.write(Change(events=[event(), event()]))
    row = {"episode": "e", "seq": 0}
    await store.write(Change(events=[event(into=row)]))
    assert row["seq"] == 3


async def test_a_change_that_waits_can_be_added_to_until_it_is_taken(store: Store) -> None:
    change = Change(rows=[(INSERT_RUN, run_row("a"))])
    saved = store.submit(change, soon=True)
    await asyncio.sleep(0)
    assert not change.taken
    change.rows.append((INSERT_RUN, run_row("b")))
    await saved  # nobody hurried it: its own alarm does
    assert change.taken
    assert len(await store.rows(select(tables.runs))) == 2


async def test_servers_that_share_a_database_give_out_one_row_of_event_ids(shared_database: str) -> None:
    stores = [Store(shared_database) for _ in range(3)]
    await asyncio.gather(*(one.open() for one in stores))  # migrating at the same time, too
    await asyncio.gather(
        *(
            one.write(Change(events=[event(f"{index}.{number}")]))
            for number in range(50)
            for index, one in enumerate(stores)
        )
    )
    rows = await stores[0].rows(select(tables.events).order_by(tables.events.c.id))
    assert [row.id for row in rows] == list(range(1, 151))
    for index in range(3):
        assert [row.type for row in rows if row.type.startswith(f"{index}.")] == [f"{index}.{n}" for n in range(50)]
    await asyncio.gather(*(one.close() for one in stores))


async def test_dropped_connections_are_made_again(shared_database: str) -> None:
    store = Store(shared_database)
    await store.open()
    await store.write(Change(rows=[(INSERT_RUN, run_row("a"))]))
    other = Store(shared_database)
    await other.open()
    drop = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    await other.rows(text(f"{drop} AND pid <> pg_backend_pid()"))
    await store.write(Change(rows=[(INSERT_RUN, run_row("b"))]))
    assert len(await store.rows(select(tables.runs))) == 2
    await other.close()
    await store.close()


async def test_a_database_that_goes_away_is_said_to_all_who_wait(tmp_path: Path) -> None:
    path = tmp_path / "envfarm.db"
    store = Store(f"sqlite+aiosqlite:///{path}", busy_timeout=0.2)
    await store.open()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    writes = [store.write(Change(rows=[(INSERT_RUN, run_row(str(number)))])) for number in range(100)]
    async with asyncio.timeout(10):  # not 0.2 s for each
        results = await asyncio.gather(*writes, return_exceptions=True)
    assert {type(result) for result in results} == {StoreError}
    holder.execute("ROLLBACK")
    holder.close()
    await store.write(Change(rows=[(INSERT_RUN, run_row("after"))]))
    assert [row.id for row in await store.rows(select(tables.runs))] == ["after"]
    await store.close()


async def test_an_older_database_is_migrated_with_what_it_holds(database: str) -> None:
    first = Store(database)
    await first.open()
    older = ["episodes ADD COLUMN priority INTEGER DEFAULT 0 NOT NULL", "episodes DROP COLUMN fork_of"]
    older += ["steps DROP COLUMN state"]
    older += [f"episodes DROP COLUMN {name}" for name in ("rested_s", "suspended_at", "suspended_until")]
    older += [f"servers DROP COLUMN {name}" for name in ("url", "place", "term", "left_at")]
    for change in older:
        await first.write(Change(rows=[(text(f"ALTER TABLE {change}"), {})]))
    await first.write(Change(rows=[(text("DROP INDEX ix_episodes_group"), {})]))
    server = text("INSERT INTO servers (id, started_at, heartbeat_at) VALUES ('me', 1.0, 1.0)")
    await first.write(Change(rows=[(server, {})]))
    columns = "id, run, task, task_digest, kind, state, owner, limits, terminated, truncated, created_at"
    row = "'ep-1', 'r', 't', 'd', 'k', 'queued', 'me', '{}', false, false, 1.0"
    await first.write(Change(rows=[(text(f"INSERT INTO episodes ({columns}) VALUES ({row})"), {})]))
    await first.write(Change(rows=[(text("UPDATE alembic_version SET version_num = '0001'"), {})]))
    await first.close()
    second = Store(database)
    await second.open()
    [kept] = await second.rows(select(tables.episodes))
    assert (kept.id, kept.limits, kept.fork_of, kept.rested_s) == ("ep-1", "{}", None, 0.0)
    [server] = await second.rows(select(tables.servers))
    assert (server.id, server.term, server.url, server.left_at) == ("me", 0, None, None)
    async with second.read() as connection:
        names = await connection.run_sync(lambda sync: {one["name"] for one in inspect(sync).get_columns("episodes")})
    assert "priority" not in names
    await second.close()


async def test_a_newer_database_is_refused_in_one_line(database: str) -> None:
    store = Store(database)
    await store.open()
    await store.write(Change(rows=[(text("UPDATE alembic_version SET version_num = :v"), {"v": "9999"})]))
    await store.close()
    with pytest.raises(StoreError, match="newer envfarm"):
        await Store(database).check()
    with pytest.raises(StoreError, match=r"newer envfarm \(revision 9999\): upgrade") as refused:
        await Store(database).open()
    assert "\n" not in str(refused.value)


async def test_a_migration_that_fails_half_way_leaves_nothing(database: str) -> None:
    engine = create_async_engine(database)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE task_stats (x INTEGER)")  # the migration's last table
    with pytest.raises(StoreError, match="task_stats") as refused:
        await Store(database).open()
    assert "\n" not in str(refused.value)
    async with engine.begin() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert [name for name in names if name != "alembic_version"] == ["task_stats"]
        await connection.exec_driver_sql("DROP TABLE task_stats")
    await engine.dispose()
    store = Store(database)
    await store.open()
    assert await store.rows(select(tables.task_stats)) == []
    await store.close()


async def test_a_check_changes_nothing(database: str, tmp_path: Path) -> None:
    store = Store(database)
    await store.check()
    assert "envfarm.db" not in os.listdir(tmp_path)
    await store.open()
    await store.check()
    await store.close()


async def test_a_locked_database_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "envfarm.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA journal_mode=WAL")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked by another process"):
        await Store(f"sqlite+aiosqlite:///{path}", busy_timeout=0.1).open()
    holder.close()


@pytest.mark.parametrize("content", [b"this is no database, but a text that is long enough to be looked at" * 20])
async def test_an_unreadable_database_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "envfarm.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"unreadable .* set `database`") as refused:
        await Store(f"sqlite+aiosqlite:///{path}").open()
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nobody:secret@127.0.0.1:1/none", "no server answers .* start PostgreSQL"),
        ("nobody:secret@no-such-host.invalid/none", "no server answers .* correct host and port in `database`"),
        ("envfarm:secret@{server}/none", 'database "none" does not exist; create it on the server'),
        ("nobody:secret@{server}/postgres", 'role "nobody" does not exist; create it on the server'),
    ],
)
async def test_a_database_server_that_cannot_be_used_is_one_line(postgres: str, url: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as refused:
        await Store(f"postgresql+asyncpg://{url.format(server=postgres.rpartition('@')[2])}").open()
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


async def test_a_database_without_rights_is_one_line(shared_database: str) -> None:
    engine = create_async_engine(shared_database)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"CREATE ROLE poor_{os.getpid()} LOGIN")
        await connection.exec_driver_sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    try:
        with pytest.raises(StoreError, match="permission denied for schema public; grant the user all rights"):
            await Store(shared_database.replace("envfarm@", f"poor_{os.getpid()}@")).open()
    finally:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"DROP ROLE poor_{os.getpid()}")
        await engine.dispose()
