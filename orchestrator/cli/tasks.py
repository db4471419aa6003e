"""`envfarm tasks`: which tasks there are, whether they are sound, and how new ones are made."""

from __future__ import annotations

import asyncio
import json as jsonlib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envfarm.orchestrator.cli import REFUSED, factory
from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console, emit_json, says_when_stopped, table
from envfarm.orchestrator.cli.places import ROOTS
from envfarm.orchestrator.cli.prewarm import prewarm
from envfarm.orchestrator.cli.push import push
from envfarm.orchestrator.settings import Loaded, Settings
from envfarm.toolbox.errors import BadRequest

if TYPE_CHECKING:
    from envfarm.orchestrator.validate import Verdict
    from envfarm.tasks.registry import Registry
    from envfarm.tasks.spec import Task

app = typer.Typer(help="List tasks, check that they are sound, and make new ones.", no_args_is_help=True)
app.command("push")(push)
app.command("prewarm")(prewarm)
app.command("from-releases")(factory.from_releases)
app.command("from-git")(factory.from_git)

ENGINE = ("data", "backend", "docker_url", "base_images", "ca_bundle", "isolation", "network")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[DIR]...", help="Task folders, or folders of them; default: all that a server would have."),
]


@app.command("list")
@with_settings(*ROOTS)
def list_tasks(loaded: Loaded, folders: Folders = None, json: Json = False) -> None:
    """List tasks; folders that cannot be used are named on stderr."""
    registry = _registry(loaded.settings, folders)
    rows = [
        {
            "task": task.id,
            "kind": task.kind,
            "language": task.config.envfarm.language,
            "description": task.config.task.description,
            "path": str(task.path),
            "digest": task.digest,
        }
        for task in registry
    ]
    for id, error in registry.errors().items():
        console.print(f"{id}: {error}", soft_wrap=True, markup=False, style="red")
    _warn(registry)
    table(rows, ["task", "kind", "language", "description"], as_json=json)


@app.command("show")
@with_settings(*ROOTS)
def show(
    loaded: Loaded, task: Annotated[str, typer.Argument(help="Its id, or its folder.")], json: Json = False
) -> None:
    """Show one task: where it lies, its configuration and what the agent is told."""
    folder = Path(task)
    if (folder / "task.toml").is_file():
        registry = _registry(loaded.settings, [folder])
        task = registry.ids()[0]
    else:
        registry = _registry(loaded.settings, None)
    found = registry.get(task)
    _warn([found])
    shown = found.model_dump(mode="json", exclude_defaults=True)
    if json:
        emit_json(shown)
        return
    config = {f"{name}": jsonlib.dumps(value, ensure_ascii=False) for name, value in shown["config"].items()}
    rows = {"task": found.id, "path": found.path, "digest": found.digest, **config}
    table([{"key": key, "value": value} for key, value in rows.items()], ["key", "value"])
    typer.echo(f"\n{found.instruction}")


@app.command("validate")
@with_settings(*ROOTS, *ENGINE)
def validate(
    loaded: Loaded,
    folders: Folders = None,
    repeat: Annotated[int, typer.Option(help="Play each policy so many times; all have to agree.", min=1)] = 1,
    jobs: Annotated[int, typer.Option(help="Tasks at a time.", min=1)] = os.cpu_count() or 2,
    wrong: Annotated[bool, typer.Option("--wrong", help="Play wrong/*.sh too: each must score 0.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each task as it is done.")] = False,
) -> None:
    """Check that tasks are sound: built, solved by their solution, and not by doing nothing. Exit code 1: not all."""
    registry = _registry(loaded.settings, folders)
    if not len(registry):
        raise BadRequest("there are no tasks to validate: name a folder, or set `tasks`")
    _warn(registry)
    verdicts = asyncio.run(_validate(loaded.settings, registry, repeat, jobs, wrong, json))
    if not json:
        rows = [_row(verdict) for verdict in sorted(verdicts, key=lambda verdict: verdict.task)]
        columns = ["task", "kind", "oracle", "noop", *(["wrong"] if wrong else []), "sound", "seconds", "why"]
        table(rows, columns)
        for verdict in verdicts:
            for place in verdict.evidence:
                console.print(f"{verdict.task}: {place}", soft_wrap=True, markup=False)
    unsound = sum(not verdict.sound for verdict in verdicts)
    console.print(f"{len(verdicts) - unsound} of {len(verdicts)} tasks are sound")
    if unsound:
        raise typer.Exit(REFUSED)


def _warn(tasks: Iterable[Task]) -> None:
    for task in tasks:
        for warning in task.warnings:
            console.print(f"warning: {warning}", soft_wrap=True, markup=False, style="yellow")


def _registry(settings: Settings, folders: Sequence[Path] | None) -> Registry:
    from envfarm.orchestrator.wire import open_registry
    from envfarm.tasks.registry import Registry, discover
    from envfarm.toolbox.errors import TaskError

    if not folders:
        return open_registry(settings)
    registry = Registry(isolation=settings.isolation, network=settings.network)
    for folder in folders:
        found = discover(folder)
        if not found:
            raise TaskError(f"{folder}: no task in it; a task is a folder with a task.toml")
        for id, path in found.items():
            registry.add(str(path) if id in registry else id, path)
    return registry


async def _validate(
    settings: Settings, registry: Registry, repeat: int, jobs: int, wrong: bool, json: bool
) -> list[Verdict]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from envfarm.envs.judge.config import JudgeConfig
    from envfarm.orchestrator.validate import validate_all
    from envfarm.orchestrator.wire import open_player

    verdicts: list[Verdict] = []
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    whole = bars.add_task("validating", total=len(registry))
    steps = 3 + wrong
    lines = {id: bars.add_task(id, total=steps, visible=False) for id in registry.ids()}

    def report(id: str, stage: str) -> None:
        bars.update(lines[id], description=f"{id}: {stage}", visible=True, advance=not stage.startswith("building"))

    # A judge says nothing about whether a task is sound, and costs money.
    async with open_player(settings.model_copy(update={"judge": JudgeConfig()}), "validate") as player:
        with bars, says_when_stopped():
            async for verdict in validate_all(registry, player, jobs=jobs, repeat=repeat, wrong=wrong, report=report):
                verdicts.append(verdict)
                bars.update(lines[verdict.task], visible=False)
                bars.advance(whole)
                if json:
                    sys.stdout.write(jsonlib.dumps(verdict.json(), ensure_ascii=False) + "\n")
                    sys.stdout.flush()
                elif not console.is_terminal:
                    state = "sound" if verdict.sound else f"not sound: {verdict.why}"
                    console.print(f"{verdict.task}: {state}", soft_wrap=True, markup=False)
    return verdicts


def _row(verdict: Verdict) -> dict[str, object]:
    row = {**verdict.json(), "sound": "yes" if verdict.sound else "no", "seconds": round(verdict.seconds, 1)}
    if verdict.wrong is not None:
        row["wrong"] = ", ".join(f"{value}" for value in verdict.wrong.values())
    return row
