"""Tasks, their tools, and how they went."""

from __future__ import annotations

from envfarm.orchestrator.http.boundary import Nothing, Request
from envfarm.orchestrator.http.routes.queries import Stats, Tasks, Tools
from envfarm.orchestrator.schemas.base import Page
from envfarm.orchestrator.schemas.tasks import SampleRequest, SampleView, TaskStats, TaskView, ToolSchema


async def listed(request: Request[Tasks, Nothing]) -> Page[TaskView]:
    """Tasks in the order of their ids."""
    query = request.query
    return await request.farm.tasks(
        dataset=query.dataset, split=query.split, kind=query.kind, cursor=query.cursor, limit=query.limit
    )


async def get(request: Request[Nothing, Nothing]) -> TaskView:
    """A task with its instruction."""
    return await request.farm.task(request.path("task"))


async def tools(request: Request[Tools, Nothing]) -> Page[ToolSchema]:
    """The tools that a model is offered, in the format of a trainer."""
    query = request.query
    return await request.farm.tools(
        kind=query.kind,
        dataset=query.dataset,
        task=query.task,
        format=query.format,
        cursor=query.cursor,
        limit=query.limit,
    )


async def stats(request: Request[Stats, Nothing]) -> Page[TaskStats]:
    """How the episodes of each task went."""
    query = request.query
    return await request.farm.stats(
        dataset=query.dataset, run=request.run(query.run), cursor=query.cursor, limit=query.limit
    )


async def sample(request: Request[Nothing, SampleRequest]) -> SampleView:
    """Tasks drawn at random, by how often they were solved; a token for one run draws by that run's statistics."""
    body = request.body
    return await request.farm.sample(body.model_copy(update={"run": request.run(body.run)}))
