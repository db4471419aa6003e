"""`envfarm tasks push`: brings tasks' images into the registry that a cluster's nodes pull from."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envfarm.orchestrator.cli import REFUSED
from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console, says_when_stopped
from envfarm.orchestrator.cli.places import ROOTS
from envfarm.orchestrator.settings import Loaded, Settings
from envfarm.toolbox.errors import BadRequest

if TYPE_CHECKING:
    from envfarm.tasks.pushed import PushedTable
    from envfarm.tasks.registry import Registry

ENGINE = ("data", "docker_url", "base_images", "ca_bundle", "isolation", "network")


@with_settings(*ROOTS, *ENGINE)
def push(
    loaded: Loaded,
    registry: Annotated[str, typer.Argument(help="HOST, HOST:PORT or HOST/FOLDER, as the nodes name it.")],
    tasks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TASK]...", help="Ids, task folders, or folders of them; default: all that there are."),
    ] = None,
    into: Annotated[Path, typer.Option(help="Table to add them to; servers read it (setting images).")] = Path(
        "images.json"
    ),
    jobs: Annotated[int, typer.Option(help="Tasks at a time.", min=1)] = os.cpu_count() or 2,
) -> None:
    """Build tasks' images with the local engine, push them, and write down their digests. Exit code 1: not all."""
    settings = loaded.settings.model_copy(update={"backend": "docker"})
    chosen = _chosen(settings, tasks or [])
    if not len(chosen):
        raise BadRequest("there are no tasks to push: name one, or set `tasks`")
    from envfarm.tasks.pushed import PushedTable

    table = PushedTable.read(into) if into.exists() else PushedTable()
    failed = asyncio.run(_push(settings, registry, chosen, table, into, jobs))
    console.print(
        f"{len(chosen) - failed} of {len(chosen)} tasks are in {registry}; their table is {into}", markup=False
    )
    if failed:
        raise typer.Exit(REFUSED)


def _chosen(settings: Settings, names: list[str]) -> Registry:
    """The tasks of ids and folders. Raises NotFound, TaskError."""
    from envfarm.orchestrator.wire import open_registry
    from envfarm.tasks.registry import Registry, discover

    known = open_registry(settings)
    if not names:
        return known
    chosen = Registry(isolation=settings.isolation, network=settings.network)
    for name in names:
        if Path(name).is_dir() and name not in known:
            for id, path in discover(Path(name)).items():
                chosen.add(str(path) if id in chosen else id, path)
        else:
            chosen.add(name, known.get(name).path)
    return chosen


async def _push(settings: Settings, registry: str, tasks: Registry, table: PushedTable, into: Path, jobs: int) -> int:
    """Push them and write the table after each, so that a stop loses nothing; returns how many could not be pushed."""
    from envfarm.orchestrator.push import push_all
    from envfarm.orchestrator.wire import open_images
    from envfarm.toolbox.sandboxes.docker_push import push as push_image

    failed = 0
    bring = partial(push_image, registry=registry, url=settings.docker_url)
    report = partial(console.print, sep=": ", markup=False, soft_wrap=True)
    async with open_images(settings) as images:
        with says_when_stopped():
            async for done in push_all(tasks, images, bring, jobs=jobs, report=report):
                if done.task is None:
                    failed += bool(done.problem)
                    report(done.id, done.problem or "needs no image")
                    continue
                table = table.with_task(done.digest, done.task, done.images)
                table.write(into)
                report(done.id, done.task.agent)
    return failed
