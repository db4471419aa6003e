"""Tasks as commands name them: by id, or by folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from envfarm.orchestrator.settings import Settings
from envfarm.toolbox.errors import NotFound, TaskError

if TYPE_CHECKING:
    from envfarm.tasks.spec import Task

ROOTS = ("tasks", "samples")
"""Settings that say which tasks there are."""


def with_folder(settings: Settings, task: str) -> tuple[Settings, str]:
    """The settings with a task's folder among the tasks where it was named by it, and the task's id."""
    from envfarm.orchestrator.wire import roots
    from envfarm.tasks.registry import discover

    folder = Path(task)
    if not folder.is_dir():
        return settings, task
    known = {path.resolve(): id for root in roots(settings) for id, path in discover(root).items()}
    if task in known.values():
        return settings, task
    if folder.resolve() in known:
        return settings, known[folder.resolve()]
    found = [id for id, path in discover(folder).items() if path == folder]
    if not found:
        raise TaskError(f"{folder}: no task; a task is a folder with a task.toml")
    return settings.model_copy(update={"tasks": (*settings.tasks, folder)}), found[0]


def find_task(settings: Settings, id: str) -> Task | None:
    """The task of an id, None where the settings' folders have none. Raises TaskError for a broken one."""
    from envfarm.orchestrator.wire import open_registry

    try:
        return open_registry(settings).get(id)
    except NotFound:
        if settings.url:
            return None  # the server may have it
        raise
