"""Dense retrieval over a real endpoint: nearest first, ties by id, built once, and what does not fit is named."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest

from envfarm.toolbox.search.config import EmbeddingsConfig
from envfarm.toolbox.search.dense import DenseCorpus
from envfarm.toolbox.search.dense_build import open_dense
from envfarm.toolbox.search.errors import CorpusError, SearchUnavailable

from .conftest import Make, text_of
from .embedding_server import EmbeddingServer, embedding_server

TEXTS = (
    text_of("apple", "red fruit of the apple tree", title="Apple"),
    text_of("pear", "green fruit of the pear tree", title="Pear"),
    text_of("tower", "a clock in London", title="Big Ben", url="http://x/tower"),
)


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingServer]:
    async with embedding_server() as server:
        yield server


@pytest.fixture
def config(server: EmbeddingServer) -> EmbeddingsConfig:
    return EmbeddingsConfig(url=server.url, model="small", batch=2, attempts=1)


def changed(config: EmbeddingsConfig, **more: Any) -> EmbeddingsConfig:
    return config.model_copy(update=more)


async def ids(found: DenseCorpus, query: str, top_k: int = 10) -> list[str]:
    return [hit.id for hit in await found.search(query, top_k)]


async def test_the_nearest_document_is_first(make: Make, config: EmbeddingsConfig, server: EmbeddingServer) -> None:
    found = await open_dense(make(*TEXTS), changed(config, document="passage: ", query="query: "))
    assert server.texts[0] == "passage: Apple\nred fruit of the apple tree"
    assert (await ids(found, "a clock in LONDON"))[0] == "tower"
    [hit] = await found.search("green pear", 1)
    assert server.texts[-1] == "query: green pear"
    assert (hit.id, hit.title, hit.snippet) == ("pear", "Pear", "green fruit of the pear tree")
    assert 0.5 < hit.score < 1
    assert await found.document("http://x/tower") == TEXTS[2]
    assert found.version == found.corpus.version
    assert await ids(found, "  ") == []
    await found.close()


async def test_ties_go_by_id_however_many_there_are(make: Make, config: EmbeddingsConfig) -> None:
    same = [text_of(f"{number:03}", "common words" + "." * number, title="t") for number in range(150)]
    other = [text_of(f"x{number}", "common words " * number, title="t") for number in range(2, 40)]
    found = await open_dense(make(*same, *other), config)
    hits = await found.search("common words", 200)
    assert [(-hit.score, hit.id) for hit in hits] == sorted((-hit.score, hit.id) for hit in hits)
    tied = await ids(found, "t common words", 150)
    assert tied == [one.id for one in same]
    for count in (1, 5, 50):
        assert await ids(found, "t common words", count) == tied[:count]
    await found.close()


async def test_the_same_query_is_asked_for_once(make: Make, config: EmbeddingsConfig, server: EmbeddingServer) -> None:
    found = await open_dense(make(*TEXTS), config)
    answers = [await ids(found, "fruit") for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert server.texts.count("fruit") == 1
    queries = ["apple", "pear", "clock"] * 20
    together = await asyncio.gather(*(ids(found, query) for query in queries))
    assert together == together[:3] * 20
    await found.close()


async def test_it_is_made_once_and_a_new_version_embeds_only_what_is_new(
    make: Make, config: EmbeddingsConfig, server: EmbeddingServer
) -> None:
    told: list[tuple[str, int]] = []
    await (await open_dense(make(*TEXTS), config, lambda stage, done: told.append((stage, done)))).close()
    assert told == [("embedded", 3), ("indexing", 3)]
    assert [len(body["input"]) for body in server.bodies] == [2, 1]
    await (await open_dense(make(*TEXTS), config)).close()
    assert len(server.texts) == 3
    found = await open_dense(make(*TEXTS[1:], text_of("new", "a new text")), config)
    assert server.texts[3:] == ["new\na new text"]
    assert set(await ids(found, "new")) == {"pear", "tower", "new"}
    await found.close()


async def test_a_build_that_fails_goes_on_where_it_was(
    make: Make, config: EmbeddingsConfig, server: EmbeddingServer
) -> None:
    corpus, slow = make(*(text_of(f"{n:02}", f"text {n}") for n in range(10))), changed(config, concurrency=1)
    server.faults = [None, None, 500]
    with pytest.raises(SearchUnavailable, match=r"4 of 10 documents or more are embedded, then: .*500.*goes on from"):
        await open_dense(corpus, slow)
    assert not list(corpus.place.glob("*index*"))
    await (await open_dense(corpus, slow)).close()
    assert sorted(server.texts) == [f"{n:02}\ntext {n}" for n in range(10)]  # each once


async def test_two_builds_at_once_pay_once(make: Make, config: EmbeddingsConfig, server: EmbeddingServer) -> None:
    first, second = await asyncio.gather(open_dense(make(*TEXTS), config), open_dense(make(*TEXTS), config))
    assert len(server.texts) == 3
    assert await ids(first, "pear") == await ids(second, "pear")
    await first.close()
    await second.close()


async def test_another_model_is_named(make: Make, config: EmbeddingsConfig) -> None:
    corpus = make(*TEXTS)
    await (await open_dense(corpus, config)).close()
    place = corpus.place / "index-dense"
    for wrong, why in (
        ({"model": "large"}, "embeddings.model 'small', not 'large'"),
        ({"document": "p: "}, "embeddings.document '', not 'p: '"),
    ):
        with pytest.raises(CorpusError, match=f"{place}: made with {why}; set that, or remove it"):
            await open_dense(make(*TEXTS), changed(config, **wrong))


@pytest.mark.parametrize("name", ["stamp", "dense.json", "vectors.faiss"])
async def test_a_damaged_index_is_named(make: Make, config: EmbeddingsConfig, name: str) -> None:
    corpus = make(*TEXTS)
    await (await open_dense(corpus, config)).close()
    file = corpus.place / "index-dense" / name
    whole = file.read_bytes()
    for damaged in (whole[:-3], whole[:-1] + bytes([whole[-1] ^ 1]), b"", None):
        file.unlink() if damaged is None else file.write_bytes(damaged)
        with pytest.raises(CorpusError, match=f"{file.parent}: damaged.*remove it"):
            await open_dense(make(*TEXTS), config)
    shutil.rmtree(file.parent)
    await (await open_dense(make(*TEXTS), config)).close()


async def test_a_damaged_store_of_vectors_is_named(make: Make, config: EmbeddingsConfig) -> None:
    corpus = make(*TEXTS)
    await (await open_dense(corpus, config)).close()
    shutil.rmtree(corpus.place / "index-dense")
    [kept] = corpus.place.parents[1].glob("vectors-*.db")
    kept.write_bytes(b"rubbish" * 1000)
    with pytest.raises(CorpusError, match=f"{kept}: damaged"):
        await open_dense(make(*TEXTS), config)


async def test_an_endpoint_that_fails_is_a_fault_of_the_farm(
    make: Make, config: EmbeddingsConfig, server: EmbeddingServer
) -> None:
    found = await open_dense(make(*TEXTS), config)
    server.faults = [500]
    with pytest.raises(SearchUnavailable, match=r"the query has no vector: .*500"):
        await found.search("pear", 3)
    server.faults = [{"data": [{"index": 0, "embedding": [1.0, 2.0]}]}]
    with pytest.raises(SearchUnavailable, match="has vectors of 64 numbers, and the query's has 2"):
        await found.search("apple", 3)
    await found.close()
