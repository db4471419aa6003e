"""Texts as vectors, by a model behind the OpenAI-compatible `/embeddings` API."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from envfarm.toolbox.endpoint import BadAnswer, Endpoint, Limits
from envfarm.toolbox.explain import explain

Vector: TypeAlias = "array[float]"
"""Its numbers as 32-bit floats, of length 1: their inner product is their cosine."""


class _Embedding(BaseModel):
    model_config = ConfigDict(extra="ignore")

    index: int
    embedding: list[float]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    data: list[_Embedding]


class Embeddings(Endpoint):
    """One embedding model at one endpoint."""

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        limits: Limits,
        dimensions: int | None = None,
    ) -> None:
        super().__init__(url, model, key, limits=limits)
        self._dimensions = dimensions

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """The vectors of some texts, in their order. Raises ModelUnavailable, ModelRefused, BadAnswer."""
        body: dict[str, object] = {"model": self.model, "input": list(texts)}
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        return self._read(await self.post("/embeddings", orjson.dumps(body)), len(texts))

    def _read(self, data: bytes, wanted: int) -> list[Vector]:
        try:
            found = sorted(_Answer.model_validate_json(data).data, key=lambda one: one.index)
        except ValidationError as error:
            raise BadAnswer(f"{self.url}: no answer of the embeddings API: {explain(error)}") from None
        if [one.index for one in found] != list(range(wanted)):
            raise BadAnswer(f"{self.url}: {len(found)} vectors for {wanted} texts")
        sizes = {len(one.embedding) for one in found}
        if len(sizes) > 1 or 0 in sizes or (self._dimensions and sizes != {self._dimensions}):
            expected = f"{self._dimensions} numbers each" if self._dimensions else "as many numbers each"
            raise BadAnswer(f"{self.url}: vectors of {sorted(sizes)} numbers where {expected} were expected")
        return [self._unit(one.embedding) for one in found]

    def _unit(self, numbers: list[float]) -> Vector:
        length = math.hypot(*numbers)
        if not math.isfinite(length) or not length:
            raise BadAnswer(f"{self.url}: a vector that has no direction: its length is {length}")
        return array("f", (number / length for number in numbers))
