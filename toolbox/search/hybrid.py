"""Hybrid retrieval: what two rankings of the same corpus agree on, by reciprocal rank fusion."""

from __future__ import annotations

import asyncio

from envfarm.toolbox.search.base import Document, Hit
from envfarm.toolbox.search.index import Ranked, Ranker, answer, shown

K = 60
"""How much the first ranks stand out; of the paper, whose results hardly change with it."""
_DEPTH = 100  # ranks of each that count, however few hits are asked for, so that fewer are the first of more
_DIGITS = 6


def fuse(rankings: list[Ranked], k: int = K) -> Ranked:
    """The documents of all rankings by the sum of 1 / (k + rank), ties by id.

    G. V. Cormack, C. L. A. Clarke, S. Büttcher: Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank
    Learning Methods. SIGIR 2009, https://doi.org/10.1145/1571941.1572114.
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, (_, id) in enumerate(ranking, 1):
            scores[id] = scores.get(id, 0.0) + 1 / (k + rank)
    return sorted(((score, id) for id, score in scores.items()), key=lambda one: (-round(one[0], 12), one[1]))


class HybridCorpus:
    """A corpus that two rankers search together: a `Retriever`."""

    def __init__(self, first: Ranker, second: Ranker) -> None:
        self.corpus = first.corpus
        self.version = self.corpus.version
        self._rankers = (first, second)

    async def rank(self, query: str, n: int) -> Ranked:
        """Scores and ids, ties by id. Raises SearchUnavailable."""
        depth = max(_DEPTH, n)
        rankings = await asyncio.gather(*(one.rank(query, depth) for one in self._rankers))
        return fuse(rankings)[:n]

    async def search(self, query: str, top_k: int) -> list[Hit]:
        """The best hits first, ties by id. Raises SearchUnavailable."""
        return await answer(shown, self.corpus, await self.rank(query, top_k), query, _DIGITS)

    async def document(self, id: str) -> Document | None:
        """The document of an id or url. Raises SearchUnavailable."""
        return await answer(self.corpus.get, id)

    async def close(self) -> None:
        """Let go of files and connections."""
        for one in self._rankers:
            await one.close()
