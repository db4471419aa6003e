"""Makes a dense index: asks for the vectors that are not kept yet, and goes on where an earlier build was stopped."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from envfarm.toolbox.endpoint import ModelError
from envfarm.toolbox.errors import StorageError
from envfarm.toolbox.search.build import Report
from envfarm.toolbox.search.config import EmbeddingsConfig
from envfarm.toolbox.search.corpus import Corpus
from envfarm.toolbox.search.dense import FOLDER, DenseCorpus, DenseIndex, library, stamp_of, write
from envfarm.toolbox.search.embeddings import Embeddings, Vector
from envfarm.toolbox.search.errors import CorpusError, SearchUnavailable
from envfarm.toolbox.search.index import make
from envfarm.toolbox.search.vectors import Key, Vectors, key_of, text_of

_LOOK = 0.5  # seconds between looks whether another build has ended


async def open_dense(
    corpus: Corpus, config: EmbeddingsConfig, report: Report = lambda stage, done: None
) -> DenseCorpus:
    """Dense retrieval over a corpus, its index made where it is not there yet.

    Raises CorpusError (damaged, of another model, nothing set), StorageError, SearchUnavailable (the endpoint fails).
    """
    library()
    async with AsyncExitStack() as stack:
        embeddings = config.open()
        stack.push_async_callback(embeddings.close)
        if not (corpus.place / FOLDER).exists():
            await _build(corpus, config, embeddings, report)
        index = await asyncio.to_thread(DenseIndex.open, corpus, config)
        stack.pop_all()  # who gets it closes it
        return DenseCorpus(corpus, index, embeddings, config)


async def _build(corpus: Corpus, config: EmbeddingsConfig, embeddings: Embeddings, report: Report) -> None:
    folder = corpus.place.parents[1]  # beside the versions: the next one has most of its texts from this one
    async with _alone(folder, report):
        if (corpus.place / FOLDER).exists():  # another process was first
            return
        with Vectors(folder, config) as kept:
            await _embed(corpus, config, embeddings, kept, report)
            report("indexing", len(corpus))

            def fill(work: Path) -> None:
                write(_all(corpus, config, kept), config, work)

            await asyncio.to_thread(make, corpus.place, corpus.place / FOLDER, stamp_of(corpus), fill)
            await asyncio.to_thread(kept.keep_only, (key_of(text_of(one, config)) for one in corpus))


async def _embed(
    corpus: Corpus, config: EmbeddingsConfig, embeddings: Embeddings, kept: Vectors, report: Report
) -> None:
    """Ask for what is not kept. Raises SearchUnavailable; what came until then is kept."""
    waiting: dict[Key, str] = {}
    for number, one in enumerate(corpus, 1):
        text = text_of(one, config)
        key = key_of(text)
        if key not in waiting and not kept.get([key]):
            waiting[key] = text
        if len(waiting) == config.batch * config.concurrency or number == len(corpus):
            try:
                await _ask(waiting, config.batch, embeddings, kept)
            except ModelError as error:
                raise SearchUnavailable(
                    f"{corpus.place}: {number - len(waiting)} of {len(corpus)} documents or more are embedded, then: "
                    f"{error}; they are kept, and the next build goes on from there"
                ) from None
            waiting.clear()
            report("embedded", number)


async def _ask(texts: Mapping[Key, str], batch: int, embeddings: Embeddings, kept: Vectors) -> None:
    """Have texts embedded in calls at the same time, and keep each answer as it comes. Raises ModelError."""

    async def call(keys: list[Key]) -> None:
        vectors = await embeddings.embed([texts[key] for key in keys])
        kept.put(dict(zip(keys, vectors, strict=True)))

    keys = list(texts)
    calls = (call(keys[start : start + batch]) for start in range(0, len(keys), batch))
    # All end before one's fault is told, so that nothing that was paid for is lost.
    for fault in await asyncio.gather(*calls, return_exceptions=True):
        if fault is not None:
            raise fault


def _all(corpus: Corpus, config: EmbeddingsConfig, kept: Vectors) -> Iterator[Vector]:
    for one in corpus:
        key = key_of(text_of(one, config))
        found = kept.get([key])
        if key not in found:
            raise CorpusError(f"{kept.place}: changed while an index was made of it; build again")
        yield found[key]


@asynccontextmanager
async def _alone(folder: Path, report: Report) -> AsyncIterator[None]:
    """One build at a time, so that nothing is paid for twice. Raises StorageError."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be opened ({error.strerror})") from None
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                report("waiting for another build", 0)
                await asyncio.sleep(_LOOK)
        yield
    finally:
        os.close(fd)
