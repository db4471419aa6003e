"""What the parts of search agree on: a document, a hit, and who finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """One document of a corpus; a line of its JSONL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str  # unique in the corpus
    title: str
    text: str  # plain text; a link to another document is written `[words](id)`
    url: str = ""
    metadata: dict[str, str] = {}


class Hit(BaseModel):
    """One result of a search."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    title: str
    url: str
    snippet: str
    score: float


class Retriever(Protocol):
    """Searches one version of a corpus. The same query gives the same hits, in the same order: ties go by id."""

    version: str
    """The corpus's digest, `sha256:…`; of a live source, `live:` and its name."""

    async def search(self, query: str, top_k: int) -> list[Hit]:
        """The best hits first, none where nothing matches. Raises SearchUnavailable for a fault of the farm."""

    async def document(self, id: str) -> Document | None:
        """The document of an id or url, None when there is none. Raises DocumentRefused, SearchUnavailable."""

    async def close(self) -> None:
        """Let go of files and connections."""


class Retrievers(Protocol):
    """The corpora, and other sources, that a farm serves to its episodes."""

    @property
    def versions(self) -> Sequence[str]:
        """The versions that there are."""

    def of(self, version: str) -> Retriever:
        """What searches that version, shared by everybody. Raises SearchUnavailable, which says what there is."""
