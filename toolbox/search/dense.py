"""Dense retrieval: documents whose vectors are nearest to the query's, by exact search over all of them.

The index is faiss's, vectors as 16-bit floats, in the order of the ids. Exact, because a graph of neighbours (HNSW) is
only needed beyond some hundred thousand documents, and its answers depend on how it was built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from envfarm.toolbox.endpoint import ModelError
from envfarm.toolbox.search.base import Document, Hit
from envfarm.toolbox.search.config import EmbeddingsConfig
from envfarm.toolbox.search.corpus import Corpus
from envfarm.toolbox.search.embeddings import Embeddings, Vector
from envfarm.toolbox.search.errors import CorpusError, SearchUnavailable
from envfarm.toolbox.search.index import Ranked, answer, check, shown

if TYPE_CHECKING:
    import faiss

FORM = "faiss f16 flat inner product 1"
FOLDER = "index-dense"
_VECTORS, _MANIFEST = "vectors.faiss", "dense.json"
_MORE = 32  # hits beyond the last that is asked for, among which ties are told apart
_DIGITS = 5  # of a score: more of them differ between machines
_KEPT = 4096  # vectors of queries
_PART = 4096  # vectors that are added at a time


class DenseManifest(BaseModel):
    """What an index was made with, and of what."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str
    dimensions: int | None  # that were asked for
    document: str
    characters: int
    documents: int
    sha256: str  # of the vectors' file


class DenseIndex:
    """The vectors of a corpus on disk."""

    def __init__(self, place: Path, ids: list[str], index: faiss.Index) -> None:
        self.place = place
        self._ids, self._index = ids, index

    @classmethod
    def open(cls, corpus: Corpus, config: EmbeddingsConfig) -> DenseIndex:
        """The index of a corpus. Raises CorpusError: damaged, or made with another model than the one set."""
        place = corpus.place / FOLDER
        check(place, stamp_of(corpus))
        again = "remove it, and it is made again"
        try:
            manifest = DenseManifest.model_validate_json((place / _MANIFEST).read_bytes())
            with (place / _VECTORS).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValidationError):
            raise CorpusError(f"{place}: damaged ({_MANIFEST} or {_VECTORS} cannot be read); {again}") from None
        if digest != manifest.sha256:
            raise CorpusError(f"{place}: damaged ({_VECTORS} is not what was written); {again}")
        for name in ("model", "dimensions", "document", "characters"):
            made, now = getattr(manifest, name), getattr(config, name)
            if made != now:
                raise CorpusError(f"{place}: made with embeddings.{name} {made!r}, not {now!r}; set that, or {again}")
        index = library().read_index(str(place / _VECTORS), library().IO_FLAG_MMAP_IFC)
        ids = corpus.ids()
        if index.ntotal != len(ids):
            raise CorpusError(f"{place}: damaged ({index.ntotal} vectors for {len(ids)} documents); {again}")
        return cls(place, ids, index)

    def best(self, vector: Vector, n: int) -> Ranked:
        """Scores and ids, ties by id. Raises CorpusError: a vector of another length."""
        import numpy

        if len(vector) != self._index.d:
            raise CorpusError(
                f"{self.place}: has vectors of {self._index.d} numbers, and the query's has {len(vector)}"
            )
        query, count = numpy.frombuffer(vector, numpy.float32)[None], n + _MORE
        while True:
            count = min(count, len(self._ids))
            scores, rows = self._index.search(query, count)
            found = [
                (round(float(score), _DIGITS), self._ids[row]) for score, row in zip(scores[0], rows[0], strict=True)
            ]
            # Whoever has the score of the last that is asked for may come before it by its id.
            if count == len(self._ids) or found[-1][0] < found[n - 1][0]:
                return sorted(found, key=lambda one: (-one[0], one[1]))[:n]
            count *= 2


class DenseCorpus:
    """A corpus and its vectors: a `Retriever`."""

    def __init__(self, corpus: Corpus, index: DenseIndex, embeddings: Embeddings, config: EmbeddingsConfig) -> None:
        self.corpus = corpus
        self.version = corpus.version
        self._index, self._embeddings, self._config = index, embeddings, config
        self._asked: dict[str, Vector] = {}

    async def rank(self, query: str, n: int) -> Ranked:
        """Scores and ids, ties by id. Raises SearchUnavailable."""
        if not query.strip():
            return []
        return await answer(self._index.best, await self._vector(query), n)

    async def search(self, query: str, top_k: int) -> list[Hit]:
        """The best hits first, ties by id. Raises SearchUnavailable."""
        return await answer(shown, self.corpus, await self.rank(query, top_k), query)

    async def document(self, id: str) -> Document | None:
        """The document of an id or url. Raises SearchUnavailable."""
        return await answer(self.corpus.get, id)

    async def close(self) -> None:
        """Let go of files and connections."""
        await self._embeddings.close()
        self.corpus.close()

    async def _vector(self, query: str) -> Vector:
        """That of a query; the same for the same query, though the endpoint may not say the same twice."""
        text = self._config.query + query[: self._config.characters]
        if text not in self._asked:
            try:
                [vector] = await self._embeddings.embed([text])
            except ModelError as error:
                raise SearchUnavailable(f"the query has no vector: {error}") from None
            while len(self._asked) >= _KEPT:
                del self._asked[next(iter(self._asked))]
            self._asked.setdefault(text, vector)
        return self._asked[text]


def write(vectors: Iterable[Vector], config: EmbeddingsConfig, place: Path) -> None:
    """Write the vectors of documents, which come by id, into an empty folder. Raises CorpusError, OSError."""
    import numpy

    faiss, index = library(), None
    part: list[Vector] = []

    def add() -> None:
        nonlocal index
        if index is None:
            kind = faiss.ScalarQuantizer.QT_fp16
            index = faiss.IndexScalarQuantizer(len(part[0]), kind, faiss.METRIC_INNER_PRODUCT)
        if {len(one) for one in part} != {index.d}:
            raise CorpusError(f"model {config.model}: its vectors have not all the same length; is it always the same?")
        index.add(numpy.array(part, numpy.float32))
        part.clear()

    for vector in vectors:
        part.append(vector)
        if len(part) == _PART:
            add()
    if part:
        add()
    data = memoryview(faiss.serialize_index(index))
    (place / _VECTORS).write_bytes(data)
    manifest = DenseManifest(
        model=config.model or "",
        dimensions=config.dimensions,
        document=config.document,
        characters=config.characters,
        documents=0 if index is None else index.ntotal,
        sha256=hashlib.sha256(data).hexdigest(),
    )
    (place / _MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")


def stamp_of(corpus: Corpus) -> str:
    """What the stamp of a corpus's index says."""
    return f"{FORM}\n{corpus.version}\n"


def library() -> Any:
    """faiss, which is heavy and not always there. Raises CorpusError."""
    try:
        import faiss
    except ImportError:
        raise CorpusError("search_index: dense needs faiss: pip install 'envfarm[dense]'") from None
    return faiss
