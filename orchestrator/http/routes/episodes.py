"""Episodes, from creation to reward."""

from __future__ import annotations

from envfarm.orchestrator.http.boundary import Nothing, Request
from envfarm.orchestrator.http.routes.queries import Episodes, Paged, Wait
from envfarm.orchestrator.http.routes.runs import run_name
from envfarm.orchestrator.schemas.base import Page
from envfarm.orchestrator.schemas.episodes import (
    ArtifactView,
    EpisodeRequest,
    EpisodesCreated,
    EpisodeView,
    FinishRequest,
    ForkRequest,
    ResumeRequest,
    RewardView,
    SuspendRequest,
)


async def create(request: Request[Nothing, EpisodeRequest]) -> EpisodesCreated:
    """Create an episode or a group without waiting for sandboxes; header Idempotency-Key makes it safe to repeat."""
    headers = request.http.headers
    named = headers.get("X-Run-Id")
    run = request.run(request.body.run or (run_name(named) if named else None)) or "default"
    created = await request.farm.create(request.body, run=run, idempotency_key=headers.get("Idempotency-Key"))
    return EpisodesCreated.model_construct(episodes=created)


async def listed(request: Request[Episodes, Nothing]) -> Page[EpisodeView]:
    """Episodes, newest first, without their messages and tools."""
    query = request.query
    return await request.farm.list_episodes(
        run=request.run(query.run), state=query.state, cursor=query.cursor, limit=query.limit
    )


async def get(request: Request[Wait, Nothing]) -> EpisodeView:
    """An episode; `wait` waits while it is queued or starting."""
    return await request.farm.episode(await request.episode(), request.query.wait)


async def delete(request: Request[Nothing, Nothing]) -> None:
    """Cancel an episode if it lives, and forget it; again, it changes nothing."""
    await request.farm.delete(await request.episode(deleted=True))


async def fork(request: Request[Nothing, ForkRequest]) -> EpisodesCreated:
    """Fork a running episode between two steps; header Idempotency-Key makes it safe to repeat."""
    key = request.http.headers.get("Idempotency-Key")
    made = await request.farm.fork(await request.episode(), request.body, idempotency_key=key)
    return EpisodesCreated.model_construct(episodes=made)


async def finish(request: Request[Nothing, FinishRequest]) -> EpisodeView:
    """End an episode from outside and start its scoring."""
    return await request.farm.finish(await request.episode(), request.body)


async def cancel(request: Request[Nothing, Nothing]) -> EpisodeView:
    """End an episode at once, without a score."""
    return await request.farm.cancel(await request.episode())


async def suspend(request: Request[Nothing, SuspendRequest]) -> EpisodeView:
    """Let an episode rest with its sandbox until it is resumed."""
    return await request.farm.suspend(await request.episode(), request.body)


async def resume(request: Request[Nothing, ResumeRequest]) -> EpisodeView:
    """Let a suspended episode go on."""
    return await request.farm.resume(await request.episode(), request.body)


async def reward(request: Request[Wait, Nothing]) -> RewardView:
    """The reward of an episode; `wait` waits until it is no longer pending."""
    return await request.farm.reward(await request.episode(), request.query.wait)


async def artifacts(request: Request[Paged, Nothing]) -> Page[ArtifactView]:
    """Everything that an episode kept, by name: whole outputs, diffs, test reports, logs."""
    query = request.query
    return await request.farm.artifacts_of(await request.episode(), cursor=query.cursor, limit=query.limit)
