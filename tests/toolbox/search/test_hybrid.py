"""Hybrid retrieval: the formula of the paper, and over a real index and endpoint what either finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envfarm.toolbox.search.config import EmbeddingsConfig
from envfarm.toolbox.search.errors import CorpusError, SearchUnavailable
from envfarm.toolbox.search.hybrid import fuse
from envfarm.toolbox.search.retrievers import open_retriever

from .conftest import Make, text_of
from .embedding_server import embedding_server

RANKING = st.lists(st.sampled_from("abcdefgh"), unique=True).map(lambda ids: [(0.0, id) for id in ids])


def test_the_sum_of_reciprocal_ranks() -> None:
    fused = fuse([[(9.0, "a"), (8.0, "b")], [(0.3, "b"), (0.2, "c")]])
    assert fused == [(1 / 62 + 1 / 61, "b"), (1 / 61, "a"), (1 / 62, "c")]
    assert fuse([[(1.0, "z")], [(1.0, "y")]]) == [(1 / 61, "y"), (1 / 61, "z")]  # ties by id


@given(RANKING, RANKING)
def test_both_count_the_same_and_the_better_of_both_comes_first(
    one: list[tuple[float, str]], two: list[tuple[float, str]]
) -> None:
    fused = fuse([one, two])
    assert [id for _, id in fused] == [id for _, id in fuse([two, one])]
    assert {id for _, id in fused} == {id for _, id in one + two}
    place = {id: rank for rank, (_, id) in enumerate(fused)}
    first, second = ([id for _, id in ranking] for ranking in (one, two))
    for better in set(first) & set(second):
        for worse in set(first) & set(second):
            if first.index(better) < first.index(worse) and second.index(better) < second.index(worse):
                assert place[better] < place[worse]


async def test_over_a_corpus(make: Make) -> None:
    corpus = make(
        text_of("apple", "Apples are red fruits.", title="Apple"),
        text_of("pear", "Pears are green fruits.", title="Pear"),
        text_of("tower", "A clock tower.", title="Big Ben"),
    )
    async with embedding_server() as server:
        config = EmbeddingsConfig(url=server.url, model="small", attempts=1)
        found = await open_retriever(corpus.place.parents[1], "hybrid", config)
        hits = await found.search("green pears", 5)
        assert (hits[0].id, hits[0].score) == ("pear", round(2 / 61, 6))  # the first of both
        assert hits[0].snippet == "Pears are green fruits."
        assert [(-hit.score, hit.id) for hit in hits] == sorted((-hit.score, hit.id) for hit in hits)
        assert await found.search("green pears", 1) == hits[:1]
        assert len(hits) == 3  # words find one, vectors all
        server.faults = [500]
        with pytest.raises(SearchUnavailable, match="the query has no vector"):
            await found.search("clock", 1)
        await found.close()
        (corpus.place / "index-tantivy" / "stamp").write_text("another")
        with pytest.raises(CorpusError, match="index-tantivy: damaged"):
            await open_retriever(corpus.place.parents[1], "hybrid", config)
