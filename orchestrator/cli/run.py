"""`envfarm run`: plays one task over HTTP by a policy that needs no model."""

from __future__ import annotations

import asyncio
import json as jsonlib
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envfarm.orchestrator.cli import REFUSED, UNABLE
from envfarm.orchestrator.cli.episodes import SERVER
from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console, emit_json, says_when_stopped, table
from envfarm.orchestrator.cli.places import ROOTS, find_task, with_folder
from envfarm.orchestrator.cli.remote import connect
from envfarm.orchestrator.settings import Loaded, Settings
from envfarm.toolbox.errors import BadRequest

if TYPE_CHECKING:
    from envfarm.orchestrator.schemas.episodes import Call
    from envfarm.trainers.client import Client

_RUN = "cli"
_ORACLE_TIMEOUT = 1800.0  # seconds for a solution whose task sets its agent no time


@with_settings(*SERVER, *ROOTS, "base_images", "ca_bundle", "isolation", "network")
def run(
    loaded: Loaded,
    task: Annotated[str, typer.Argument(help="Its id, or its folder.")],
    policy: Annotated[
        str,
        typer.Option(
            help="`oracle` plays the task's own solution, `noop` does nothing; else a file of JSON lines, a tool call "
            'each: {"name": "bash", "arguments": {"command": "…"}}.'
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Play one task and print its reward. Exit code 1: below the full mark; 3: the farm could not tell."""
    settings, id = with_folder(loaded.settings, task)
    done = asyncio.run(_run(settings, id, policy, quiet=json))
    mark = done.pop("full_mark")
    if json:
        emit_json(done)
    else:
        table([done], ["episode", "task", "reward", "parts", "seconds", "reason"])
    if done["reward"] is None:
        console.print(f"no reward: {done['reason'] or done['status']}", soft_wrap=True, markup=False)
        raise typer.Exit(UNABLE)
    if done["reward"] < mark:
        raise typer.Exit(REFUSED)


async def _run(settings: Settings, id: str, policy: str, *, quiet: bool) -> dict[str, Any]:
    calls, limits, mark = _policy(settings, id, policy)
    started = time.monotonic()
    async with connect(settings) as client:
        [episode] = await client.create(id, run=_RUN, limits=limits)
        async with AsyncExitStack() as unless_scored:
            unless_scored.push_async_callback(_cancel, client, episode["id"])
            unless_scored.enter_context(says_when_stopped())
            if not await _play(client, episode["id"], calls, quiet):
                await client.finish(episode["id"])
            reward = await client.wait_reward(episode["id"])
            unless_scored.pop_all()
        return {
            "episode": episode["id"],
            "task": id,
            "status": reward["status"],
            "reward": reward["value"],
            "parts": reward["parts"],
            "reason": reward["reason"],
            "artifacts": await client.artifacts(episode["id"]),
            "seconds": round(time.monotonic() - started, 3),
            "full_mark": mark,
        }


async def _cancel(client: Client, episode: str) -> None:
    from envfarm.trainers.client import ClientError

    with suppress(ClientError):  # what went wrong first is what counts
        await client.cancel(episode)


async def _play(client: Client, episode: str, calls: Sequence[Call], quiet: bool) -> bool:
    """Make the calls, a step each; whether they ended the episode."""
    for call in calls:
        step = await client.step(episode, [call.model_dump()])
        if not quiet:
            for result in step["results"]:
                shown = jsonlib.dumps(call.arguments, ensure_ascii=False)
                console.print(f"[{step['turn']}] {call.name} {shown[:200]}", soft_wrap=True, markup=False, style="bold")
                console.print(result["content"], soft_wrap=True, markup=False)
        if step["terminated"] or step["truncated"]:
            return True
    return False


def _policy(settings: Settings, id: str, policy: str) -> tuple[Sequence[Call], dict[str, float], float]:
    """The calls, the limits that they need, and the task's full mark where its folder is here."""
    from envfarm.orchestrator import policies

    task = find_task(settings, id)
    mark = 1.0 if task is None else task.config.envfarm.full_mark
    if policy == "noop":
        return [], {}, mark
    if policy != "oracle":
        return policies.scripted(Path(policy)), {}, mark
    if task is None:
        raise BadRequest(f"no task {id!r} here, and oracle plays the solution in its folder; name it with --tasks")
    timeout = task.config.agent.timeout_sec or _ORACLE_TIMEOUT
    return policies.oracle(task), {"step_timeout_s": timeout, "timeout_s": timeout + 60.0}, mark
