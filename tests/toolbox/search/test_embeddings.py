"""The embeddings client, over the wire: what it sends, what it makes of answers, and what it calls no answer."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from envfarm.toolbox.endpoint import BadAnswer, ModelRefused, ModelUnavailable
from envfarm.toolbox.search.config import EmbeddingsConfig
from envfarm.toolbox.search.errors import CorpusError

from .embedding_server import EmbeddingServer, embedding_server


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingServer]:
    async with embedding_server() as server:
        yield server


def config(server: EmbeddingServer, **more: Any) -> EmbeddingsConfig:
    return EmbeddingsConfig(url=server.url, model="small", attempts=2, **more)


async def test_vectors_come_in_the_order_of_their_texts_and_have_length_1(server: EmbeddingServer) -> None:
    async with config(server, key="secret").open() as model:
        one, two, again = await model.embed(["red apple", "green pear", "red apple"])
    assert one == again != two
    assert math.hypot(*two) == pytest.approx(1)
    assert server.keys == ["Bearer secret"]
    assert server.bodies == [{"model": "small", "input": ["red apple", "green pear", "red apple"]}]


async def test_fewer_dimensions_can_be_asked_for(server: EmbeddingServer) -> None:
    async with config(server, dimensions=8).open() as model:
        assert [len(one) for one in await model.embed(["a"])] == [8]
        assert server.bodies[0]["dimensions"] == 8
        server.faults = [{"data": [{"index": 0, "embedding": [1.0] * 9}]}]
        with pytest.raises(BadAnswer, match=r"vectors of \[9\] numbers where 8 numbers each were expected"):
            await model.embed(["a"])


async def test_what_passes_is_tried_again_and_what_does_not_is_told(server: EmbeddingServer) -> None:
    async with config(server).open() as model:
        server.faults = [503]
        assert len(await model.embed(["a"])) == 1
        server.faults = [503, 503]
        with pytest.raises(ModelUnavailable, match="status 503"):
            await model.embed(["a"])
        server.faults = [400]
        with pytest.raises(ModelRefused, match="'small': status 400"):
            await model.embed(["a"])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"data": []}, "0 vectors for 2 texts"),
        ({"data": [{"index": 0, "embedding": [1]}] * 2}, "2 vectors for 2 texts"),
        ({"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1, 2]}]}, r"vectors of \[1, 2\] numbers"),
        ({"data": [{"index": 0, "embedding": [0, 0]}, {"index": 1, "embedding": [1, 2]}]}, "has no direction"),
        ({"vectors": []}, "no answer of the embeddings API: data"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_told(server: EmbeddingServer, answer: dict[str, Any], why: str) -> None:
    server.faults = [answer]
    async with config(server).open() as model:
        with pytest.raises(BadAnswer, match=why):
            await model.embed(["a", "b"])


def test_without_an_endpoint_there_is_none() -> None:
    with pytest.raises(CorpusError, match=r"embeddings\.url: not set"):
        EmbeddingsConfig().open()
    with pytest.raises(ValueError, match=r"set embeddings\.model too"):
        EmbeddingsConfig(url="http://127.0.0.1/v1")
