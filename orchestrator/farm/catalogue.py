"""The tasks that a farm serves, as its callers choose among them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from envfarm.orchestrator.farm.episodes import dataset_of
from envfarm.orchestrator.farm.views import task_view
from envfarm.orchestrator.schemas.base import Page
from envfarm.orchestrator.schemas.episodes import EpisodeRequest
from envfarm.orchestrator.schemas.tasks import TaskView, ToolFormat, ToolSchema
from envfarm.orchestrator.store.queries import decode, encode
from envfarm.tasks.registry import Registry
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import BadRequest, NotFound
from envfarm.toolbox.tools.base import Tool
from envfarm.toolbox.tools.formats import describe


def pick(registry: Registry, request: EpisodeRequest) -> Task:
    """The task that a request means. Raises NotFound, TaskError."""
    if request.task_id is not None:
        return registry.get(request.task_id)
    tasks = select_tasks(registry, dataset=request.dataset, split=request.split)
    if not tasks:
        raise NotFound(f"no task in dataset {request.dataset!r}, split {request.split!r}")
    if request.seed is not None:
        return random.Random(request.seed).choice(tasks)
    assert request.index is not None
    if request.index >= len(tasks):
        raise NotFound(f"index {request.index}: dataset {request.dataset!r} has {len(tasks)} tasks")
    return tasks[request.index]


def select_tasks(
    registry: Registry, *, dataset: str | None = None, split: str | None = None, kind: str | None = None
) -> list[Task]:
    """Tasks by id; a split is `metadata.split` of the task."""
    return [
        task
        for task in registry.all()
        if (dataset is None or dataset_of(task.id) == dataset)
        and (split is None or task.config.metadata.get("split") == split)
        and (kind is None or task.kind == kind)
    ]


def page_of_tools(tools: Mapping[str, Tool], *, format: ToolFormat, cursor: str | None, limit: int) -> Page[ToolSchema]:
    """A part of some tools, by name. Raises BadRequest (the cursor)."""
    names = list(tools)
    start = 0
    if cursor is not None:
        if (last := decode(cursor)) not in tools:
            raise BadRequest(f"cursor: there is no tool {last[:80]!r} here; leave it out to start from the beginning")
        start = names.index(last) + 1
    shown = names[start : start + limit]
    items = [ToolSchema(one) for one in describe([tools[name] for name in shown], format)]
    return Page(items=items, next=encode(shown[-1]) if start + limit < len(names) else None)


def page(tasks: Sequence[Task], *, cursor: str | None, limit: int) -> Page[TaskView]:
    """A part of some tasks that are sorted by id. Raises BadRequest (the cursor)."""
    after = "" if cursor is None else decode(cursor)
    found = [task for task in tasks if task.id > after]
    more = encode(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[task_view(task) for task in found[:limit]], next=more)
