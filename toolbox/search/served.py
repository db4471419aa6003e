"""The corpora that a farm serves: opened once, shared by all episodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from envfarm.toolbox.search.base import Retriever
from envfarm.toolbox.search.config import NO_EMBEDDINGS, EmbeddingsConfig, RetrieverKind
from envfarm.toolbox.search.errors import CorpusError, SearchUnavailable
from envfarm.toolbox.search.retrievers import open_retriever


class Served:
    """Retrievers by the version of what they search."""

    def __init__(self, retrievers: Sequence[Retriever] = ()) -> None:
        self._by_version = {one.version: one for one in retrievers}

    @property
    def versions(self) -> Sequence[str]:
        """The versions that there are, in the order in which they were named."""
        return list(self._by_version)

    def of(self, version: str) -> Retriever:
        """What searches that version. Raises SearchUnavailable, which says what there is."""
        found = self._by_version.get(version)
        if found is None:
            raise SearchUnavailable(f"no {version} here: {said(self.versions)}; name it in the setting `corpora`")
        return found


def said(versions: Sequence[str]) -> str:
    """What is served, in words."""
    return f"this farm serves {', '.join(versions) or 'no corpus'}"


@asynccontextmanager
async def open_served(
    folders: Sequence[Path],
    kind: RetrieverKind,
    embeddings: EmbeddingsConfig = NO_EMBEDDINGS,
    live: Retriever | None = None,
) -> AsyncIterator[Served]:
    """The corpora in some folders, each with its index, which is made where it is missing, and then a live source.

    All are closed after the block.

    Raises CorpusError, StorageError, SearchUnavailable.
    """
    async with AsyncExitStack() as stack:
        if live is not None:
            stack.push_async_callback(live.close)
        opened: list[Retriever] = []
        for folder in folders:
            one = await open_retriever(folder, kind, embeddings)
            stack.push_async_callback(one.close)
            if one.version in {other.version for other in opened}:
                raise CorpusError(f"corpora: {folder} is there twice, as {one.version}; name it once")
            opened.append(one)
        yield Served(opened if live is None else [*opened, live])
