"""`envfarm shell`: a person's terminal in a task's sandbox, and the score of what they left."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import typer

from envfarm.orchestrator.cli import REFUSED, UNABLE
from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console, emit_json, table
from envfarm.orchestrator.cli.places import ROOTS, find_task, with_folder
from envfarm.orchestrator.settings import Loaded, Settings
from envfarm.toolbox.errors import BadRequest


@with_settings("data", "docker_url", "base_images", "ca_bundle", "isolation", "network", *ROOTS)
def shell(
    loaded: Loaded,
    task: Annotated[str, typer.Argument(help="Its id, or its folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print the score as one JSON object.")] = False,
) -> None:
    """Work on a task in a terminal, as an agent would; it is scored then. Exit code 1: below the full mark."""
    settings, id = with_folder(loaded.settings, task)
    done = asyncio.run(_shell(settings, id))
    mark = done.pop("full_mark")
    if json:
        emit_json(done)
    else:
        table([done], ["task", "reward", "parts", "seconds", "reason"])
    if done["reward"] is None:
        raise typer.Exit(UNABLE)
    if done["reward"] < mark:
        raise typer.Exit(REFUSED)


async def _shell(settings: Settings, id: str) -> dict[str, Any]:
    from envfarm.envs.base import environment
    from envfarm.orchestrator.cli.tty import interact
    from envfarm.orchestrator.wire import open_player
    from envfarm.toolbox.sandboxes.docker import DockerSandbox

    local = settings.model_copy(update={"backend": "docker", "url": None})
    task = find_task(local, id)
    assert task is not None  # without a server's address a missing task is an error
    started = time.monotonic()
    async with open_player(local, "shell") as player:
        console.print(f"building {id} …", markup=False)
        async with player.start(task) as playing:
            for message in environment(task.kind, task.path).messages(task):
                console.print(message.content.strip(), soft_wrap=True, markup=False)
            console.print("\n(leave the shell to be scored)\n", markup=False)
            if not isinstance(playing.sandbox, DockerSandbox):
                raise BadRequest(f"task: {id} is played without a sandbox, so there is nothing to work in")
            interact(local.docker_url, playing.sandbox)  # nothing else is going on here
            console.print("scoring …", markup=False)
            reward = await playing.score()
    return {
        "task": id,
        "reward": reward.value,
        "parts": reward.parts,
        "reason": reward.reason,
        "artifacts": reward.evidence,
        "seconds": round(time.monotonic() - started, 3),
        "full_mark": task.config.envfarm.full_mark,
    }
