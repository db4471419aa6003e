"""`envfarm replay`: plays a recorded episode again and shows the first thing that came out otherwise."""

from __future__ import annotations

import asyncio
import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envfarm.orchestrator.cli import REFUSED
from envfarm.orchestrator.cli.episodes import SERVER, fetch
from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console, emit_json
from envfarm.orchestrator.cli.places import ROOTS, find_task
from envfarm.orchestrator.settings import Loaded, Settings
from envfarm.toolbox.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from envfarm.orchestrator.replay import Replay


@with_settings(
    *SERVER,
    *ROOTS,
    "base_images",
    "ca_bundle",
    "isolation",
    "network",
    "step_timeout",
    "output_limit",
    "kept_outputs",
)
def replay(
    loaded: Loaded,
    episode: Annotated[str, typer.Argument(help="Its id, or a file that `episodes show ID --json` wrote; - is stdin.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Play an episode's calls again in a fresh local Docker sandbox. Exit code 1: something came out otherwise."""
    record = _read(episode) if _is_file(episode) else asyncio.run(fetch(loaded.settings, episode))
    done = asyncio.run(_replay(loaded.settings, record))
    difference = done.difference
    if json:
        shown = difference and {
            "where": difference.where,
            "recorded": difference.recorded,
            "replayed": difference.replayed,
        }
        emit_json(
            {
                "episode": record["id"],
                "task": record["task"],
                "matches": done.matches,
                "steps": done.steps,
                "difference": shown,
                "reward": done.reward and done.reward.value,
                "seconds": round(done.seconds, 3),
            }
        )
    elif done.matches:
        scored = "no reward to compare" if done.reward is None else f"reward {done.reward.value}"
        console.print(f"{record['id']}: {done.steps} steps and {scored}: all as recorded", markup=False)
    else:
        console.print(f"{record['id']}: the same up to {difference}", soft_wrap=True, markup=False)
    if not done.matches:
        raise typer.Exit(REFUSED)


async def _replay(settings: Settings, record: dict[str, Any]) -> Replay:
    from envfarm.orchestrator.replay import recorded, replay
    from envfarm.orchestrator.wire import farm_settings, open_player

    local = settings.model_copy(update={"backend": "docker", "url": None})
    name = recorded(record).task
    try:
        task = find_task(local, name)
    except NotFound:
        fix = "name the folder that it was played from with --tasks FOLDER"
        raise NotFound(f"episode {record['id']}: its task {name!r} is not here; {fix}") from None
    assert task is not None  # without a server's address a missing task is an error
    async with open_player(local, "replay") as player:
        return await replay(record, task, player=player, settings=farm_settings(local))


def _is_file(episode: str) -> bool:
    return episode == "-" or Path(episode).is_file() or episode.endswith(".json")


def _read(name: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        record = jsonlib.loads(text)
    except (OSError, ValueError) as error:
        raise BadRequest(f"{name}: cannot be read: {error}; make one with `envfarm episodes show ID --json`") from None
    if not isinstance(record, dict):
        raise BadRequest(f"{name}: no exported episode; make one with `envfarm episodes show ID --json`")
    return record
