"""The images that a task's sandboxes start from."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial

from envfarm.tasks.spec import Task
from envfarm.toolbox.sandboxes.images import ImageBuilder

Gate = Callable[[Task, str], Awaitable[None]]
"""Looks at a task's new image by its reference."""


class TaskImages:
    """Builds or finds a task's images with an engine's builder; implements `Images` of envfarm.envs.base.

    `gate` sees every newly built image that an agent would get, and raises ImageError to refuse it.
    """

    def __init__(self, builder: ImageBuilder, *, gate: Gate | None = None) -> None:
        self._builder = builder
        self._gate = gate

    async def agent(self, task: Task) -> str:
        """The image that the agent works in: `[environment] docker_image`, else environment/Dockerfile, built.

        Raises ImageError, BackendUnavailable.
        """
        table = task.config.environment
        if table.docker_image:
            return await self._builder.find(table.docker_image)
        return await self._builder.build(
            task.path / "environment",
            name=image_name(task.id),
            timeout=table.build_timeout_sec,
            check=None if self._gate is None else partial(self._gate, task),
        )

    async def verifier(self, task: Task) -> str:
        """The image that the tests run in: tests/Dockerfile, built with the argument BASE (the agent's image).

        Without that file it is `[verifier.environment] docker_image`, else the agent's own.
        Raises ImageError, BackendUnavailable.
        """
        table = task.config.verifier.environment
        if (task.path / "tests" / "Dockerfile").is_file():
            return await self._builder.build(
                task.path / "tests",
                args={"BASE": await self.agent(task)},
                name=f"{image_name(task.id)}-verifier",
                timeout=(table or task.config.environment).build_timeout_sec,
            )
        if table and table.docker_image:
            return await self._builder.find(table.docker_image)
        return await self.agent(task)


def image_name(id: str) -> str:
    """A task's id as part of an image's name: lower-case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", id.lower()).strip("-") or "task"
