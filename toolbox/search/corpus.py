"""A corpus on disk: its documents in the order of their ids, who they are by digest, and where each lies.

    OUT/current -> versions/<first 12 digits of the version>
    OUT/versions/…/documents.jsonl   a document a line, as canonical JSON, sorted by id
                   digests           `sha256  id` of each line
                   lookup.db         SQLite: id, url, where the line is
                   manifest.json     version, counts, sources with their licences, what was dropped and why

The version is the SHA-256 of documents.jsonl, so the same documents are the same version, wherever they were built.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.errors import CorpusError

DOCUMENTS, DIGESTS, LOOKUP, MANIFEST = "documents.jsonl", "digests", "lookup.db", "manifest.json"
CURRENT, VERSIONS = "current", "versions"
_AGAIN = "build it again with `envfarm corpus build`"


class Source(BaseModel):
    """Where documents came from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    licence: str = "unknown"
    documents: int = 0


class Manifest(BaseModel):
    """What a corpus is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    version: str  # sha256: and the digest of documents.jsonl
    documents: int
    bytes: int  # of documents.jsonl
    sources: tuple[Source, ...] = ()
    dropped: dict[str, int] = {}  # reason to how many


class Corpus:
    """One version of a corpus, open for reading. A newer one that is built meanwhile does not change it."""

    def __init__(self, place: Path, manifest: Manifest) -> None:
        self.place = place
        self.manifest = manifest
        self._lines = (place / DOCUMENTS).open("rb")
        self._lookup = sqlite3.connect(f"file:{place / LOOKUP}?immutable=1", uri=True, check_same_thread=False)

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """The newest version in a folder. Raises CorpusError."""
        if not folder.is_dir():
            raise CorpusError(f"{folder}: no such corpus; make one with `envfarm corpus build SOURCE… --out {folder}`")
        place = (folder / CURRENT).resolve()
        if not (place / MANIFEST).is_file():
            raise CorpusError(f"{folder}: no corpus in it; make one with `envfarm corpus build SOURCE… --out {folder}`")
        try:
            manifest = Manifest.model_validate_json((place / MANIFEST).read_bytes())
        except ValidationError as error:
            raise CorpusError(f"{place / MANIFEST}: damaged ({error.error_count()} defects); {_AGAIN}") from None
        for name in (DOCUMENTS, DIGESTS, LOOKUP):
            if not (place / name).is_file():
                raise CorpusError(f"{place / name}: missing; {_AGAIN}")
        if (size := (place / DOCUMENTS).stat().st_size) != manifest.bytes:
            raise CorpusError(f"{place / DOCUMENTS}: {size} bytes where {manifest.bytes} are expected; {_AGAIN}")
        return cls(place, manifest)

    @property
    def version(self) -> str:
        """`sha256:` and the digest of its documents."""
        return self.manifest.version

    def __len__(self) -> int:
        return self.manifest.documents

    def __iter__(self) -> Iterator[Document]:
        with (self.place / DOCUMENTS).open("rb") as lines:
            for line in lines:
                yield document(line)

    def ids(self) -> list[str]:
        """The ids of all documents, in their order. Raises CorpusError (damaged)."""
        try:
            return [id for (id,) in self._lookup.execute("SELECT id FROM documents ORDER BY id")]
        except sqlite3.DatabaseError as error:
            raise CorpusError(f"{self.place / LOOKUP}: damaged ({error}); {_AGAIN}") from None

    def get(self, name: str) -> Document | None:
        """The document of an id, or of a url; None when there is none. Raises CorpusError (damaged)."""
        try:
            row = self._lookup.execute("SELECT at, size FROM documents WHERE id = ?", (name,)).fetchone()
            if row is None and name:
                query = "SELECT at, size FROM documents WHERE url = ? ORDER BY id LIMIT 1"
                row = self._lookup.execute(query, (name,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise CorpusError(f"{self.place / LOOKUP}: damaged ({error}); {_AGAIN}") from None
        if row is None:
            return None
        return document(os.pread(self._lines.fileno(), row[1], row[0]))  # without a position, which threads would share

    def verify(self) -> None:
        """Read everything and compare its digests. Raises CorpusError, which names what differs."""
        whole, found = hashlib.sha256(), 0
        with (self.place / DOCUMENTS).open("rb") as lines, (self.place / DIGESTS).open() as digests:
            for line in lines:
                whole.update(line)
                found += 1
                expected = digests.readline().rstrip("\n").partition("  ")
                if hashlib.sha256(line).hexdigest() != expected[0]:
                    raise CorpusError(f"{self.place / DOCUMENTS}:{found}: changed since it was built; {_AGAIN}")
        if found != len(self) or f"sha256:{whole.hexdigest()}" != self.version:
            raise CorpusError(f"{self.place / DOCUMENTS}: not the documents of {self.version}; {_AGAIN}")
        for one in self:
            if self.get(one.id) != one:
                raise CorpusError(f"{self.place / LOOKUP}: does not lead to {one.id!r}; {_AGAIN}")

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its files."""
        self._lines.close()
        self._lookup.close()


def line(one: Document) -> bytes:
    """A document as its line: canonical JSON, keys sorted, with its newline."""
    return orjson.dumps(one.model_dump(), option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def document(text: bytes) -> Document:
    """The document of a line. Raises CorpusError."""
    try:
        return Document.model_validate(orjson.loads(text))
    except (orjson.JSONDecodeError, ValidationError):
        raise CorpusError(f"no document: {text[:80]!r}; {_AGAIN}") from None
