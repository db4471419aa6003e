"""SQLite's own full-text index: needs nothing else, and is fast enough for some ten thousand short documents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.errors import CorpusError

_FILE = "fts.db"
_MORE = 32  # hits beyond the last that is asked for, among which ties are told apart


class Fts:
    """BM25 as SQLite has it (k1 = 1.2, b = 0.75), over title and text; the title counts twice."""

    form = "fts5 porter unicode61 1"

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._place = Path()

    def make(self, documents: Iterator[Document], place: Path) -> None:
        """Write the index into a folder."""
        with closing(sqlite3.connect(place / _FILE)) as made:
            made.execute("PRAGMA journal_mode = OFF")
            made.execute("CREATE VIRTUAL TABLE it USING fts5(id UNINDEXED, title, text, tokenize='porter unicode61')")
            made.executemany("INSERT INTO it VALUES (?, ?, ?)", ((one.id, one.title, one.text) for one in documents))
            made.execute("INSERT INTO it(it) VALUES ('optimize')")
            made.commit()

    def load(self, place: Path) -> None:
        """Open it. Raises CorpusError."""
        self._place = place
        try:
            uri = f"file:{place / _FILE}?immutable=1"
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._connection.execute("SELECT count(*) FROM it WHERE it MATCH 'a'").fetchone()
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None

    def best(self, query: Sequence[str], n: int) -> list[tuple[float, str]]:
        """Scores and ids. Raises CorpusError."""
        assert self._connection is not None
        any_of = " OR ".join(f'"{word}"' for word in query)
        select = "SELECT -bm25(it, 0, 2.0, 1.0), id FROM it WHERE it MATCH ? ORDER BY bm25(it, 0, 2.0, 1.0), id LIMIT ?"
        try:
            rows = self._connection.execute(select, (any_of, n + _MORE)).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None
        return sorted(rows, key=lambda row: (-round(row[0], 6), row[1]))[:n]

    def close(self) -> None:
        """Let go of its file."""
        if self._connection is not None:
            self._connection.close()

    def _damaged(self, error: sqlite3.DatabaseError) -> CorpusError:
        return CorpusError(f"{self._place}: damaged ({error}); remove it, and it is made again")
