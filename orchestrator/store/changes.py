"""Changes of the store: rows and events that become durable together, many changes in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, func, insert, select, text
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.codec import dump

LOCK = 0x656E7666  # PostgreSQL advisory lock: one order of event ids for all servers, and one migration at a time


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

    def begin_with(self, other: Change) -> None:
        """Add another change's rows and events, before these."""
        self.rows = other.rows + self.rows
        self.events = other.events + self.events


INSERT_EVENT = insert(tables.events)
INSERT_EPISODE = insert(tables.episodes)
INSERT_STEP = insert(tables.steps)
INSERT_REWARD = insert(tables.rewards)
INSERT_REQUEST = insert(tables.requests)
INSERT_ARTIFACT = text(
    "INSERT INTO artifacts (episode, name, digest) VALUES (:episode, :name, :digest) "
    "ON CONFLICT (episode, name) DO UPDATE SET digest = excluded.digest"
)
_order: dict[Executable, int] = {INSERT_EPISODE: 0, INSERT_REQUEST: 1, INSERT_STEP: 2}
_take_lock = select(func.pg_advisory_xact_lock(bindparam("key", LOCK)))
LAST_EVENT = select(func.max(tables.events.c.id))

Pick = Callable[[dict[str, Any]], Any]


class Batch:
    """Applies changes over a connection, in one transaction of the caller's."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[Executable, tuple[str, ...]], tuple[str, Pick]] = {}

    def apply(self, connection: Connection, changes: Sequence[Change], last_event: int) -> int:
        """Run the changes; returns the id of the newest event then. `last_event` counts where nobody else writes."""
        grouped: dict[Executable, list[dict[str, Any]]] = {}
        happened: list[EventRow] = []
        for change in changes:
            if change.guard is not None:
                change.refused = connection.execute(*change.guard).rowcount != 1
                if change.refused:
                    continue
            for statement, parameters in change.rows:
                grouped.setdefault(statement, []).append(parameters)
            happened.extend(change.events)
        if happened:
            if connection.dialect.name != "sqlite":  # other servers write too
                connection.execute(_take_lock)
                last_event = connection.scalar(LAST_EVENT) or 0
            grouped[INSERT_EVENT] = _numbered(happened, last_event)
        for statement in sorted(grouped, key=lambda known: _order.get(known, 9)):
            for columns, rows in groupby(grouped[statement], key=tuple):  # in practice one kind of row
                sql, pick = self._driver_form(connection, statement, columns)
                connection.exec_driver_sql(sql, [pick(row) for row in rows])
        return last_event + len(happened)

    def _driver_form(self, connection: Connection, statement: Executable, columns: tuple[str, ...]) -> tuple[str, Pick]:
        """A statement as the driver takes it, and what makes its parameters: SQLAlchemy's own way costs 10 µs a row."""
        known = self._compiled.get((statement, columns))
        if known is None:
            assert isinstance(statement, ClauseElement)
            compiled = statement.compile(dialect=connection.dialect, column_keys=list(columns))
            assert isinstance(compiled, SQLCompiler)
            names = compiled.positiontup or []
            pick: Pick = itemgetter(*names) if len(names) > 1 else lambda row: tuple(row[name] for name in names)
            known = self._compiled[statement, columns] = str(compiled), pick
        return known


def _numbered(happened: Sequence[EventRow], last: int) -> list[dict[str, Any]]:
    """Events with their ids, in the order in which transactions commit."""
    rows = []
    for number, event in enumerate(happened, last + 1):
        if event.into is not None:
            event.into["seq"] = number
        rows.append(
            {
                "id": number,
                "type": event.type,
                "run": event.run,
                "episode": event.episode,
                "at": event.at,
                "data": dump(event.data),
            }
        )
    return rows
