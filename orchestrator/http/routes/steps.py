"""Steps, one at a time or in batches."""

from __future__ import annotations

import asyncio

from envfarm.orchestrator.errors import Elsewhere, Moving
from envfarm.orchestrator.http.boundary import Nothing, Reply, Request, error_body, settled
from envfarm.orchestrator.http.forwarding import FORWARDER, HOP
from envfarm.orchestrator.http.routes.queries import Paged, Wait
from envfarm.orchestrator.schemas.base import Page
from envfarm.orchestrator.schemas.episodes import (
    BatchRequest,
    BatchResult,
    BatchStep,
    BatchView,
    StepPending,
    StepRecord,
    StepRequest,
    StepView,
)

_UNANSWERED = BatchResult(episode="")


async def step(request: Request[Nothing, StepRequest]) -> StepView | Reply:
    """Run the tool calls of one turn, in order, once however often it is sent."""
    id = await request.episode()
    view = await request.farm.step(id, request.body)
    return view if view is not None else _pending(id, request.body.step_id)


async def result(request: Request[Wait, Nothing]) -> StepView | Reply:
    """The result of a step that was sent."""
    id, step_id = await request.episode(), request.path("step")
    view = await request.farm.step_result(id, step_id, request.query.wait)
    return view if view is not None else _pending(id, step_id)


async def recorded(request: Request[Paged, Nothing]) -> Page[StepRecord]:
    """The steps of an episode as they were recorded, in the order of their turns."""
    return await request.farm.steps(await request.episode(), cursor=request.query.cursor, limit=request.query.limit)


async def batch(request: Request[Nothing, BatchRequest]) -> BatchView:
    """Steps of many episodes in one request; each has a result or an error of its own."""
    steps = request.body.steps
    results: list[BatchResult] = [_UNANSWERED] * len(steps)
    chains: dict[str, list[int]] = {}
    for index, one in enumerate(steps):
        chains.setdefault(one.episode, []).append(index)
    elsewhere = await request.http.app[FORWARDER].split(list(chains), request.http)

    async def chain(indexes: list[int]) -> None:
        for index in indexes:
            results[index] = await _one(request, steps[index])

    async def forward(owner: str, indexes: list[int]) -> None:
        for index, result in zip(indexes, await _forwarded(request, owner, [steps[i] for i in indexes]), strict=True):
            results[index] = result

    work = [forward(owner, [index for id in ids for index in chains.pop(id)]) for owner, ids in elsewhere.items()] + [
        chain(indexes) for indexes in chains.values()
    ]
    if len(work) == 1:
        await work[0]
    else:
        await asyncio.gather(*work)
    return BatchView.model_construct(results=results)


async def _forwarded(request: Request[Nothing, BatchRequest], owner: str, steps: list[BatchStep]) -> list[BatchResult]:
    """What another server makes of some steps of a batch, in one request."""
    body = {"steps": [one.model_dump(mode="json", exclude_unset=True) for one in steps]}
    answer = await settled(request.http.app[FORWARDER].ask(request.http, owner, body))
    if isinstance(answer, Exception):
        return [
            BatchResult.model_construct(episode=one.episode, error=error_body(answer, one.episode)) for one in steps
        ]
    return [BatchResult.model_validate(result) for result in answer["results"]]


async def _one(request: Request[Nothing, BatchRequest], one: BatchStep) -> BatchResult:
    view = await settled(_seen(request, one))  # each step of a batch has an answer of its own
    if isinstance(view, Elsewhere) and HOP in request.http.headers:
        view = Moving(f"episode {one.episode} is changing hands; send the same again")
    if isinstance(view, Exception):
        return BatchResult.model_construct(episode=one.episode, error=error_body(view, one.episode))
    if view is None:
        return BatchResult.model_construct(episode=one.episode, pending=StepPending(step_id=one.step_id))
    return BatchResult.model_construct(episode=one.episode, step=view)


async def _seen(request: Request[Nothing, BatchRequest], one: BatchStep) -> StepView | None:
    await request.may_see(one.episode)
    return await request.farm.step(one.episode, one)


def _pending(id: str, step_id: str) -> Reply:
    return Reply(StepPending(step_id=step_id), 202, {"Location": f"/v1/episodes/{id}/steps/{step_id}"})
