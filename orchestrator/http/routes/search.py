"""Batch search in the form of Search-R1."""

from __future__ import annotations

from envfarm.orchestrator.farm.retrieval import retrieve as found
from envfarm.orchestrator.http.boundary import Nothing, Request
from envfarm.orchestrator.schemas.search import RetrieveRequest, RetrieveView


async def retrieve(request: Request[Nothing, RetrieveRequest]) -> RetrieveView:
    """The best documents for each query, as Search-R1's own retrieval server answers."""
    body = request.body
    return await found(request.farm.core, body.model_copy(update={"run": request.run(body.run)}))
