"""Batch search, as trainers that bring Search-R1's own client call it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from envfarm.orchestrator.schemas.base import Name, RequestModel, ViewModel

Query = Annotated[str, StringConstraints(max_length=4000)]


class RetrieveRequest(RequestModel):
    """Queries, answered together."""

    queries: list[Query] = Field(min_length=1, max_length=1024)
    topk: int = Field(3, ge=1, le=100, description="documents for each query")
    return_scores: bool = Field(False, description="whether each document comes with its score")
    corpus: str | None = Field(None, description="version of the corpus; null: the first that is served")
    max_chars: int = Field(2000, ge=1, le=1_000_000, description="characters of each document")
    run: Name | None = Field(None, description="whose limit on `search` holds")


class Passage(ViewModel):
    """A document: its title in quotes, a line break, its text."""

    id: str
    contents: str


class Scored(ViewModel):
    """A document and its score."""

    document: Passage
    score: float


class RetrieveView(ViewModel):
    """For each query its documents, best first."""

    result: list[list[Scored]] | list[list[Passage]]
