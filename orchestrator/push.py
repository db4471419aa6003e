"""Builds tasks' images and brings them into a registry, from which a cluster, which builds none, takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from envfarm.envs.base import Images
from envfarm.tasks.pushed import PushedTask
from envfarm.tasks.registry import Registry
from envfarm.toolbox.errors import BackendUnavailable, FarmError
from envfarm.toolbox.sandboxes.docker_push import Pushed

Push = Callable[[str], Awaitable[Pushed]]
"""Brings an image of the engine into the registry."""
Report = Callable[[str, str], None]
"""Hears a task's id, and what is done with it now."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One task's images in the registry, or why there are none; neither where it needs none."""

    id: str
    digest: str = ""
    task: PushedTask | None = None
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    problem: str = ""


async def push_all(
    registry: Registry, images: Images, push: Push, *, jobs: int, report: Report = lambda task, stage: None
) -> AsyncIterator[Outcome]:
    """Every task's outcome as it comes, `jobs` at a time; an image that tasks share is pushed once.

    Raises BackendUnavailable.
    """
    room = asyncio.Semaphore(jobs)
    pushes: dict[str, asyncio.Future[Pushed]] = {}

    async def brought(image: str) -> Pushed:
        if image not in pushes:
            pushes[image] = asyncio.ensure_future(push(image))
        return await asyncio.shield(pushes[image])

    async def one(id: str) -> Outcome:
        async with room:
            try:
                task = registry.get(id)
                if not task.has_image:
                    return Outcome(id, task.digest)
                report(id, "building")
                names = await images.agent(task), await images.verifier(task)
                report(id, "pushing")
                agent, verifier = [await brought(name) for name in names]
            except BackendUnavailable:
                raise  # it says nothing about this task, and the next one would fare no better
            except FarmError as error:
                return Outcome(id, problem=" ".join(str(error).split()))
        made = PushedTask(task=id, agent=agent.reference, verifier=verifier.reference)
        return Outcome(id, task.digest, made, {image.reference: image.config for image in (agent, verifier)})

    tasks = [asyncio.create_task(one(id)) for id in registry.ids()]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        running: list[asyncio.Future[Any]] = [*tasks, *pushes.values()]
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)
