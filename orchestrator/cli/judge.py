"""`envfarm judge`: whether the judge that is set can be trusted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from envfarm.orchestrator.chosen import chosen
from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console, emit_json, says_when_stopped, table
from envfarm.orchestrator.cli.places import ROOTS
from envfarm.orchestrator.settings import Loaded, Settings
from envfarm.toolbox.errors import BadRequest

if TYPE_CHECKING:
    from envfarm.orchestrator.calibrate import Report

app = typer.Typer(help="Look into the judge.", no_args_is_help=True)


@app.command("calibrate")
@with_settings("data", "backend", "docker_url", *ROOTS, "base_images", "ca_bundle", "isolation")
def calibrate(
    loaded: Loaded,
    tasks: Annotated[list[str], typer.Argument(help="Ids of tasks, or what ids begin with, such as `web`.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the judge about work that is known to be good and work that is known to be worse, and say how it does."""
    if loaded.settings.judge.url is None:
        raise BadRequest("judge: none is set; set judge.url and judge.model (docs/judge.md)")
    report = asyncio.run(_calibrate(loaded.settings, tasks))
    rows = [
        {"task": case.task, "work": case.name, "good": "yes" if case.good else "no", "score": case.score}
        for case in report.cases
    ]
    if json:
        emit_json({"summary": report.summary(), "cases": rows})
        return
    table(rows, ["task", "work", "good", "score"])
    table([report.summary()], list(report.summary()))


async def _calibrate(settings: Settings, names: list[str]) -> Report:
    from envfarm.orchestrator.calibrate import Report, calibrate
    from envfarm.orchestrator.wire import open_player, open_registry

    registry = open_registry(settings)
    ids = chosen(names, registry.ids())
    report = Report()
    async with open_player(settings, "calibrate") as player:
        judge = player.services.judge
        assert judge is not None
        with says_when_stopped():
            async for case in calibrate([registry.get(id) for id in ids], player, judge):
                report.cases.append(case)
                shown = "not judged" if case.score is None else f"{case.score:g}"
                console.print(f"{case.task}, {case.name}: {shown}", soft_wrap=True, markup=False)
    return report
