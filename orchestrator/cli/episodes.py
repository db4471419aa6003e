"""`envfarm episodes`: what was played, and each step of one episode."""

from __future__ import annotations

import asyncio
import json as jsonlib
from datetime import datetime
from typing import Annotated, Any

import typer

from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console, emit_json, table
from envfarm.orchestrator.cli.remote import connect
from envfarm.orchestrator.settings import Loaded, Settings
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import NotFound

app = typer.Typer(help="List episodes, and show what happened in one.", no_args_is_help=True)

SERVER = ("data", "database", "backend", "docker_url", "url", "token")
"""Settings of commands that talk to a server."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
@with_settings(*SERVER)
def list_episodes(
    loaded: Loaded,
    run: Annotated[str | None, typer.Option(help="Only those of this run.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1)] = 50,
    json: Json = False,
) -> None:
    """List episodes, newest first."""
    episodes = asyncio.run(_list(loaded.settings, run, state, limit))
    rows = [episode if json else _summary(episode) for episode in episodes]
    table(rows, ["episode", "task", "run", "state", "turns", "reward", "created", "reason"], as_json=json)


@app.command("show")
@with_settings(*SERVER)
def show(loaded: Loaded, episode: Annotated[str, typer.Argument(help="Its id.")], json: Json = False) -> None:
    """Show an episode with its steps, its reward and its artefacts; `--json` is what `envfarm replay` reads."""
    found = asyncio.run(fetch(loaded.settings, episode))
    if json:
        emit_json(found)
        return
    table([_summary(found)], ["episode", "task", "run", "state", "turns", "reward", "created", "reason"])
    for step in found["steps"]:
        _show_step(step)
    if found["artifacts"]:
        from envfarm.orchestrator.wire import open_artifacts

        files = open_artifacts(loaded.settings)
        rows = [{"artefact": name, "where": _where(files, digest)} for name, digest in found["artifacts"].items()]
        table(rows, ["artefact", "where"])


async def _list(settings: Settings, run: str | None, state: str | None, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with connect(settings) as client:
        async for episode in client.episodes(run=run, state=state):
            found.append(episode)
            if len(found) == limit:
                break
    return found


async def fetch(settings: Settings, id: str) -> dict[str, Any]:
    """An episode with its steps and its artefacts: what `--json` prints and `envfarm replay` reads."""
    async with connect(settings) as client:
        episode = await client.episode(id)
        steps = [step async for step in client.steps(id)]
        return {**episode, "steps": steps, "artifacts": await client.artifacts(id)}


def _summary(episode: dict[str, Any]) -> dict[str, Any]:
    reward = episode.get("reward") or {}
    return {
        "episode": episode["id"],
        "task": episode["task"],
        "run": episode["run"],
        "state": episode["state"],
        "turns": episode["turn"],
        "reward": reward.get("value"),
        "created": f"{datetime.fromtimestamp(episode['created_at']):%Y-%m-%d %H:%M:%S}",
        "reason": episode.get("reason") or reward.get("reason"),
    }


def _where(files: Artifacts, digest: str) -> str:
    """An artefact's file; its digest where that lies on a server's own disk, or is gone."""
    try:
        return str(files.path(digest))
    except NotFound:
        return digest


def _show_step(step: dict[str, Any]) -> None:
    """One step as a person reads it: what was called, and what came back."""
    for call, result in zip(step["calls"], step["results"] or [None] * len(step["calls"]), strict=False):
        arguments = call["arguments"]
        shown = arguments if isinstance(arguments, str) else jsonlib.dumps(arguments, ensure_ascii=False)
        typer.echo(f"\n[{step['turn']}] {call['name']} {shown}")
        if result is None:
            console.print("(no result yet)")
        else:
            typer.echo(result["content"])
