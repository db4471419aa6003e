"""The leak gate of image builds: an image from which the agent could read the fix never gets its name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from envfarm.tasks.factory.leaks import leaks
from envfarm.tasks.images import Gate
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import ImageError
from envfarm.toolbox.sandboxes.base import Backend, SandboxSpec


def leak_gate(open_backend: Callable[[], AbstractAsyncContextManager[tuple[Backend, str]]]) -> Gate:
    """A gate that searches every new image of a task of kind swe, in a sandbox without network.

    `open_backend` gives a back end and the owner of the sandboxes.
    Raises ImageError with the first place that gives the fix away, SandboxError.
    """

    async def gate(task: Task, image: str) -> None:
        if task.kind != "swe":
            return
        async with open_backend() as (backend, label):
            spec = SandboxSpec(image=image, entrypoint=False, user="root", workdir="/")
            sandbox = await backend.start(spec, owner=label, lease="gate")
            try:
                found = await leaks(task, sandbox)
            finally:
                await sandbox.close()
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise ImageError(f"{task.path / 'environment'}: the image gives the fix away: {found[0]}{more}")

    return gate
