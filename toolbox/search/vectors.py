"""The vectors of a corpus that were paid for: kept by their text, so that a build goes on where one was stopped."""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from envfarm.toolbox.errors import StorageError
from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.config import EmbeddingsConfig
from envfarm.toolbox.search.embeddings import Vector
from envfarm.toolbox.search.errors import CorpusError

Key = bytes
"""SHA-256 of a text as it is embedded."""


def text_of(document: Document, config: EmbeddingsConfig) -> str:
    """What of a document is embedded."""
    return config.document + f"{document.title}\n{document.text}"[: config.characters]


def key_of(text: str) -> Key:
    """What a text's vector is kept under."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Vectors:
    """One SQLite file beside the versions of a corpus, for one model. Raises StorageError, CorpusError."""

    def __init__(self, folder: Path, config: EmbeddingsConfig) -> None:
        made = f"{config.model}\0{config.dimensions or ''}"
        self.place = folder / f"vectors-{hashlib.sha256(made.encode()).hexdigest()[:12]}.db"
        try:
            self._file = sqlite3.connect(self.place, check_same_thread=False)  # one thread after the other
            self._file.execute("CREATE TABLE IF NOT EXISTS it (text BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def get(self, keys: Iterable[Key]) -> dict[Key, Vector]:
        """Those that are there."""
        found = {}
        try:
            for key in keys:
                row = self._file.execute("SELECT vector FROM it WHERE text = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = array("f", row[0])
        except (sqlite3.Error, ValueError) as error:
            raise self._broken(error) from None
        return found

    def put(self, vectors: Mapping[Key, Vector]) -> None:
        """Keep some, for good when this returns."""
        try:
            with self._file:
                rows = ((key, one.tobytes()) for key, one in vectors.items())
                self._file.executemany("INSERT OR REPLACE INTO it VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def keep_only(self, keys: Iterable[Key]) -> None:
        """Let go of all others."""
        try:
            with self._file:
                self._file.execute("CREATE TEMP TABLE used (text BLOB PRIMARY KEY) WITHOUT ROWID")
                self._file.executemany("INSERT OR IGNORE INTO used VALUES (?)", ((key,) for key in keys))
                self._file.execute("DELETE FROM it WHERE text NOT IN (SELECT text FROM used)")
                self._file.execute("DROP TABLE used")
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> StorageError | CorpusError:
        if isinstance(error, sqlite3.OperationalError):
            return StorageError(f"{self.place}: cannot be read and written ({error}): make room, or mend it")
        return CorpusError(f"{self.place}: damaged ({error}); remove it, and its texts are embedded again")
