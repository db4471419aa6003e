"""Builds a corpus, whole or not at all: from many sources, in bounded memory, without the same text twice."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from envfarm.toolbox.errors import StorageError
from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.corpus import (
    CURRENT,
    DIGESTS,
    DOCUMENTS,
    LOOKUP,
    MANIFEST,
    VERSIONS,
    Manifest,
    Source,
    document,
    line,
)
from envfarm.toolbox.search.errors import CorpusError

KEPT = 2  # versions: who reads the one before keeps its files
_EVERY = 1000
Report = Callable[[str, int], None]
"""Hears what is done, and how many documents that is so far."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something of a source that became no document."""

    name: str
    why: str  # one of few words: binary, empty, redirect, …


Read = Iterable[Document | Dropped]
Sources = Sequence[tuple[Source, Read]]


@dataclass(slots=True)
class Built:
    """A corpus that was built."""

    manifest: Manifest
    new: bool  # whether it is another version than before
    dropped: list[Dropped]  # the first hundred of each reason


def build(sources: Sources, out: Path, report: Report = lambda stage, done: None) -> Built:
    """Read all sources and make the corpus in a folder, replacing the version there when all is done.

    Raises CorpusError (the same id twice, nothing to read, what a source is wrong about), StorageError (the disk).
    """
    try:
        (out / VERSIONS).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=out) as name:
            Path(name).chmod(0o755)  # others may read it, as what they find in it
            return _build(sources, out, Path(name), report)
    except OSError as error:
        raise StorageError(
            f"{out}: the corpus cannot be written ({error.strerror}): make room, or name another"
        ) from None
    except sqlite3.OperationalError as error:  # its words for a full disk
        raise StorageError(f"{out}: the corpus cannot be written ({error}): make room, or name another") from None


def _build(sources: Sources, out: Path, work: Path, report: Report) -> Built:
    counts: Counter[str] = Counter()
    dropped: list[Dropped] = []

    def drop(one: Dropped) -> None:
        counts[one.why] += 1
        if counts[one.why] <= 100:
            dropped.append(one)

    with closing(sqlite3.connect(work / "staging.db")) as staging:
        kept = [_stage(staging, source, read, drop, report) for source, read in sources]
        if not sum(one.documents for one in kept):
            raise CorpusError(
                f"no documents: {dict(counts) or 'the sources are empty'}; name folders or files that hold text"
            )
        manifest = _write(staging, work, report)
    manifest = manifest.model_copy(update={"sources": tuple(kept), "dropped": dict(sorted(counts.items()))})
    (work / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
    (work / "staging.db").unlink()
    return Built(manifest, _land(out, work, manifest), dropped)


def _stage(
    staging: sqlite3.Connection, source: Source, read: Read, drop: Callable[[Dropped], None], report: Report
) -> Source:
    """Put a source's documents where they can be sorted; the source with their number."""
    staging.execute("PRAGMA journal_mode = OFF")
    staging.execute("CREATE TABLE IF NOT EXISTS it (id TEXT PRIMARY KEY, text BLOB UNIQUE, line BLOB) WITHOUT ROWID")
    found = 0
    for one in read:
        if isinstance(one, Dropped):
            drop(one)
            continue
        if not one.text.strip():
            drop(Dropped(one.id, "empty"))
            continue
        text = hashlib.sha256(f"{one.title}\0{one.text}".encode("utf-8", "surrogatepass")).digest()
        if staging.execute("SELECT 1 FROM it WHERE id = ?", (one.id,)).fetchone():
            raise CorpusError(f"{source.name}: id {one.id!r} is there twice; give each document one of its own")
        other = staging.execute("SELECT id FROM it WHERE text = ?", (text,)).fetchone()
        if other is not None:  # the smaller id stays, so that the order of the sources says nothing
            drop(Dropped(max(one.id, other[0]), "same text as another"))
            if other[0] < one.id:
                continue
            staging.execute("DELETE FROM it WHERE id = ?", other)
            found -= 1
        staging.execute("INSERT INTO it VALUES (?, ?, ?)", (one.id, text, line(one)))
        found += 1
        if found % _EVERY == 0:
            report(source.name, found)
    staging.commit()
    report(source.name, found)
    return source.model_copy(update={"documents": found})


def _write(staging: sqlite3.Connection, work: Path, report: Report) -> Manifest:
    whole, at, count = hashlib.sha256(), 0, 0
    lookup = sqlite3.connect(work / LOOKUP)
    with closing(lookup), (work / DOCUMENTS).open("wb") as lines, (work / DIGESTS).open("w") as digests:
        lookup.execute("CREATE TABLE documents (id TEXT PRIMARY KEY, url TEXT, at INTEGER, size INTEGER) WITHOUT ROWID")
        for id, text in staging.execute("SELECT id, line FROM it ORDER BY id"):
            lines.write(text)
            whole.update(text)
            digests.write(f"{hashlib.sha256(text).hexdigest()}  {id}\n")
            lookup.execute("INSERT INTO documents VALUES (?, ?, ?, ?)", (id, document(text).url, at, len(text)))
            at += len(text)
            count += 1
            if count % _EVERY == 0:
                report("written", count)
        lookup.execute("CREATE INDEX by_url ON documents (url) WHERE url != ''")
        lookup.commit()
    return Manifest(version=f"sha256:{whole.hexdigest()}", documents=count, bytes=at)


def _land(out: Path, work: Path, manifest: Manifest) -> bool:
    """Make the new version the current one; whether it is another than before."""
    name = manifest.version.removeprefix("sha256:")[:12]
    place = out / VERSIONS / name
    current = out / CURRENT
    before = current.resolve().name if current.is_symlink() else ""
    if place.exists():  # the same documents; the indexes of the version stay
        (work / MANIFEST).replace(place / MANIFEST)
    else:
        work.rename(place)
        work.mkdir()  # who made it removes it
    link = out / f"{CURRENT}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(f"{VERSIONS}/{name}")
    link.replace(current)
    for old in _old(out, keep={name, before}):
        shutil.rmtree(old, ignore_errors=True)
    return name != before


def _old(out: Path, keep: set[str]) -> Iterator[Path]:
    others = [one for one in (out / VERSIONS).iterdir() if one.name not in keep]
    newest_first = sorted(others, key=lambda one: one.stat().st_mtime, reverse=True)
    yield from newest_first[max(0, KEPT - len(keep - {""})) :]
