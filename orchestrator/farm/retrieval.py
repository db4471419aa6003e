"""Batch search over the corpora that the farm serves, within the limits of a run."""

from __future__ import annotations

import asyncio

from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.schemas.search import Passage, RetrieveRequest, RetrieveView, Scored
from envfarm.toolbox.errors import NotFound
from envfarm.toolbox.search.base import Hit, Retriever
from envfarm.toolbox.search.errors import DocumentRefused
from envfarm.toolbox.search.served import said

_AT_ONCE = 8  # queries of one request


async def retrieve(core: Core, request: RetrieveRequest) -> RetrieveView:
    """The best documents of each query. Raises NotFound (no such corpus), FarmFull (the run's limit)."""
    retrievers = core.services.retrievers
    versions = [] if retrievers is None else retrievers.versions
    version = request.corpus or next(iter(versions), None)
    if retrievers is None or version is None or version not in versions:
        raise NotFound(f"corpus: no {version or 'corpus'} here: {said(versions)}; name it in the setting `corpora`")
    source, room = retrievers.of(version), asyncio.Semaphore(_AT_ONCE)

    async def one(query: str) -> list[Scored]:
        async with room:
            if request.run is not None:
                await core.toolbox.throttle(request.run, "search")
            hits = await source.search(query, request.topk)
            return [await _scored(hit, source, request.max_chars) for hit in hits]

    found = await asyncio.gather(*(one(query) for query in request.queries))
    if request.return_scores:
        return RetrieveView(result=list(found))
    return RetrieveView(result=[[hit.document for hit in hits] for hits in found])


async def _scored(hit: Hit, source: Retriever, limit: int) -> Scored:
    try:
        document = await source.document(hit.id)
    except DocumentRefused:  # of a live source: the snippet is what there is
        document = None
    text = hit.snippet if document is None else document.text
    passage = Passage(id=hit.id, contents=f'"{hit.title}"\n{text[:limit]}')
    return Scored(document=passage, score=hit.score)
