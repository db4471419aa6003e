"""Indexes of a corpus, a folder for each kind beside its documents: made whole or not at all, checked when opened."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, ParamSpec, Protocol, TypeVar

from envfarm.toolbox.errors import StorageError
from envfarm.toolbox.search.base import Document, Hit
from envfarm.toolbox.search.corpus import Corpus
from envfarm.toolbox.search.errors import CorpusError, SearchUnavailable
from envfarm.toolbox.search.words import snippet, words

P = ParamSpec("P")
T = TypeVar("T")
Kind = Literal["tantivy", "fts"]
Ranked = list[tuple[float, str]]
"""Scores and ids, best first, ties by id."""
_STAMP = "stamp"


class Index(Protocol):
    """What scores documents."""

    form: str
    """Whatever decides how it scores: another one is another index."""

    def make(self, documents: Iterator[Document], place: Path) -> None:
        """Write the index of some documents, which come by id, into an empty folder."""

    def load(self, place: Path) -> None:
        """Open it. Raises CorpusError (damaged)."""

    def best(self, query: Sequence[str], n: int) -> Ranked:
        """Scores and ids, best first, ties by id. Raises CorpusError (damaged)."""

    def close(self) -> None:
        """Let go of its files."""


class Ranker(Protocol):
    """What ranks the documents of one version of a corpus."""

    corpus: Corpus

    async def rank(self, query: str, n: int) -> Ranked:
        """Scores and ids; the first of more are the same. Raises SearchUnavailable."""

    async def close(self) -> None:
        """Let go of files and connections."""


class IndexedCorpus:
    """A corpus and an index of it: the `Retriever` of a fixed corpus."""

    def __init__(self, corpus: Corpus, index: Index) -> None:
        self.corpus = corpus
        self.version = corpus.version
        self._index = index

    async def rank(self, query: str, n: int) -> Ranked:
        """Scores and ids, ties by id. Raises SearchUnavailable."""
        return await answer(self._rank, query, n)

    async def search(self, query: str, top_k: int) -> list[Hit]:
        """The best hits first, ties by id. Raises SearchUnavailable."""
        return await answer(self._search, query, top_k)

    async def document(self, id: str) -> Document | None:
        """The document of an id or url. Raises SearchUnavailable."""
        return await answer(self.corpus.get, id)

    async def close(self) -> None:
        """Let go of files."""
        self._index.close()
        self.corpus.close()

    def _rank(self, query: str, n: int) -> Ranked:
        wanted = words(query)
        return self._index.best(wanted, n) if wanted else []

    def _search(self, query: str, top_k: int) -> list[Hit]:
        return shown(self.corpus, self._rank(query, top_k), query)


def shown(corpus: Corpus, ranked: Ranked, query: str, digits: int = 4) -> list[Hit]:
    """Hits as agents see them, with scores of so many digits. Raises CorpusError (damaged)."""
    wanted, hits = words(query), []
    for score, id in ranked:
        found = corpus.get(id)
        if found is None:
            raise CorpusError(f"{corpus.place}: its index names {id!r}, which it has not; remove the index folder")
        part = snippet(found.text, wanted)
        hits.append(Hit(id=id, title=found.title, url=found.url, snippet=part, score=round(score, digits)))
    return hits


async def answer(look: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Look in a thread. Raises SearchUnavailable."""
    try:
        return await asyncio.to_thread(look, *arguments, **options)
    except (CorpusError, OSError) as error:
        raise SearchUnavailable(f"the corpus cannot be read: {error}") from None


def open_index(corpus: Corpus, kind: Kind = "tantivy") -> IndexedCorpus:
    """The index of a corpus, made where it is not there yet. Raises CorpusError, StorageError."""
    index = _new(kind)
    place = corpus.place / f"index-{kind}"
    stamp = f"{index.form}\n{corpus.version}\n"
    if not place.exists():
        make(corpus.place, place, stamp, lambda work: index.make(iter(corpus), work))
    check(place, stamp)
    index.load(place)
    return IndexedCorpus(corpus, index)


def check(place: Path, stamp: str) -> None:
    """Raises CorpusError where an index is not what its stamp must say."""
    if not (place / _STAMP).is_file() or (place / _STAMP).read_text() != stamp:
        raise CorpusError(f"{place}: damaged, or of another version of envfarm; remove it, and it is made again")


def make(folder: Path, place: Path, stamp: str, fill: Callable[[Path], None]) -> None:
    """Make an index in a folder, whole or not at all. Raises StorageError."""
    try:
        work = Path(tempfile.mkdtemp(prefix=".index-", dir=folder))
        try:
            work.chmod(0o755)
            fill(work)
            (work / _STAMP).write_text(stamp)
            try:
                work.rename(place)
            except OSError:  # another process was first
                if not place.exists():
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{folder}: no room for an index ({error.strerror})") from None


def _new(kind: Kind) -> Index:
    if kind == "fts":
        from envfarm.toolbox.search.fts import Fts

        return Fts()
    from envfarm.toolbox.search.bm25 import Tantivy

    return Tantivy()
