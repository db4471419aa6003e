"""The retrievers of a fixed corpus by their names: the one place that knows them all."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from envfarm.toolbox.search.base import Retriever
from envfarm.toolbox.search.build import Report
from envfarm.toolbox.search.config import KINDS, NO_EMBEDDINGS, EmbeddingsConfig, RetrieverKind
from envfarm.toolbox.search.corpus import Corpus
from envfarm.toolbox.search.errors import CorpusError
from envfarm.toolbox.search.hybrid import HybridCorpus
from envfarm.toolbox.search.index import Ranker, open_index

logger = logging.getLogger(__name__)


def _log(stage: str, done: int) -> None:
    logger.info("%s: %d documents", stage, done)


def kind_of(name: str) -> RetrieverKind:
    """The kind of a name. Raises CorpusError, which says what there is."""
    for kind in KINDS:
        if kind == name:
            return kind
    raise CorpusError(f"{name!r} is no retriever; there are {', '.join(KINDS[:-1])} and {KINDS[-1]}")


async def open_retriever(
    folder: Path, kind: RetrieverKind, embeddings: EmbeddingsConfig = NO_EMBEDDINGS, report: Report = _log
) -> Retriever:
    """The corpus in a folder with what searches it; indexes are made where they are missing. To be closed.

    Raises CorpusError, StorageError, SearchUnavailable.
    """
    corpus = await asyncio.to_thread(Corpus.open, folder)
    try:
        if kind == "tantivy" or kind == "fts":
            return await asyncio.to_thread(open_index, corpus, kind)
        from envfarm.toolbox.search.dense_build import open_dense

        dense = await open_dense(corpus, embeddings, report)
        return dense if kind == "dense" else await _with_words(dense)
    except BaseException:
        corpus.close()
        raise


async def _with_words(dense: Ranker) -> Retriever:
    try:
        return HybridCorpus(await asyncio.to_thread(open_index, dense.corpus, "tantivy"), dense)
    except BaseException:
        await dense.close()
        raise
