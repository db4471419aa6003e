"""`envfarm tasks from-releases` and `from-git`: SWE tasks from published releases and from a repository's history."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console, emit_json
from envfarm.orchestrator.settings import Loaded, Settings

if TYPE_CHECKING:
    from envfarm.tasks.factory.make import Made, Workshop

Out = Annotated[Path, typer.Option("--out", help="The folder to write the task's folder into.")]
With = Annotated[
    list[str] | None,
    typer.Option("--with", help="A package that the tests need and the project does not declare; repeat for more."),
]
Json = Annotated[bool, typer.Option("--json", help="Print an object: task, fail_to_pass, pass_to_pass, seconds, path.")]
Seconds = Annotated[float, typer.Option("--timeout", help="Seconds that one run of the test suite may take.", min=1)]


@with_settings("data", "docker_url")
def from_releases(
    loaded: Loaded,
    package: Annotated[str, typer.Argument(help="pypi:NAME, go:MODULE, crates:NAME or npm:NAME.")],
    old: Annotated[str, typer.Argument(help="The release that has the bug.")],
    new: Annotated[str, typer.Argument(help="The release that fixed it.")],
    out: Out = Path("tasks"),
    extra: With = None,
    timeout: Seconds = 300.0,
    json: Json = False,
) -> None:
    """Make a bug-fix task of two published releases: the older one's source, the newer one's tests."""
    from envfarm.tasks.factory import releases

    async def make(workshop: Workshop) -> Made:
        return await releases.from_releases(package, old, new, out=out, workshop=workshop, extra=extra or ())

    _show(asyncio.run(_make(loaded.settings, timeout, make)), json)


@with_settings("data", "docker_url")
def from_git(
    loaded: Loaded,
    repository: Annotated[str, typer.Argument(help="The path or URL of a git repository.")],
    fix_commit: Annotated[str, typer.Argument(help="The commit that fixed the bug.")],
    issue: Annotated[
        Path | None, typer.Option("--issue", help="A file with the issue's text; else the commit's message is used.")
    ] = None,
    out: Out = Path("tasks"),
    extra: With = None,
    timeout: Seconds = 300.0,
    json: Json = False,
) -> None:
    """Make a bug-fix task of a commit: its parent's source, its own tests."""
    from envfarm.tasks.factory import history
    from envfarm.toolbox.errors import BadRequest

    if issue and not issue.is_file():
        raise BadRequest(f"--issue {issue}: no such file")
    text = issue.read_text("utf-8", "replace") if issue else None

    async def make(workshop: Workshop) -> Made:
        return await history.from_git(repository, fix_commit, out=out, workshop=workshop, issue=text, extra=extra or ())

    _show(asyncio.run(_make(loaded.settings, timeout, make)), json)


async def _make(settings: Settings, timeout: float, make: Callable[[Workshop], Awaitable[Made]]) -> Made:
    from envfarm.orchestrator.wire import open_builder, owned_backend
    from envfarm.tasks.factory.make import Workshop

    async with owned_backend(settings, "factory") as (backend, label), open_builder(settings) as builder:
        with console.status("") as status:

            def progress(stage: str) -> None:
                status.update(escape(stage))
                if not console.is_terminal:
                    console.print(stage, soft_wrap=True, markup=False)

            return await make(Workshop(backend, builder, progress, timeout, label))


def _show(made: Made, json: bool) -> None:
    found = made.found
    if json:
        emit_json(
            {
                "task": made.task,
                "fail_to_pass": list(found.fail_to_pass),
                "pass_to_pass": list(found.pass_to_pass),
                "seconds": round(made.seconds, 1),
                "path": str(made.path),
                "left_out": dict(found.left_out),
            }
        )
        return
    console.print(f"{made.path}: {len(found.fail_to_pass)} fail-to-pass, {len(found.pass_to_pass)} pass-to-pass tests")
    for reason, count in found.left_out.items():
        console.print(f"  left out: {count} {reason}")
