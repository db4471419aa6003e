"""`envfarm rollout`: tasks played by a model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from envfarm.orchestrator.chosen import chosen
from envfarm.orchestrator.cli.episodes import SERVER
from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console, says_when_stopped, table
from envfarm.orchestrator.cli.places import ROOTS
from envfarm.orchestrator.cli.remote import connect_farm
from envfarm.orchestrator.settings import Loaded, Settings
from envfarm.toolbox.errors import BadRequest

if TYPE_CHECKING:
    from envfarm.orchestrator.rollout.attempt import Options, Trajectory
    from envfarm.toolbox.chat import ChatModel

KEY = "OPENAI_API_KEY"
"""The variable with the endpoint's key."""

Model = Annotated[str, typer.Option(help="URL of an OpenAI-compatible endpoint, up to /v1.")]
Name = Annotated[str, typer.Option(help="The model's name there.")]
Concurrency = Annotated[int, typer.Option(help="Attempts at the same time.", min=1)]


@with_settings(*SERVER, *ROOTS, "corpora", "base_images", "ca_bundle", "isolation", "network")
def rollout(
    loaded: Loaded,
    tasks: Annotated[list[str], typer.Argument(help="Ids of tasks, or datasets: the first part of ids.")],
    model: Model,
    name: Name,
    n: Annotated[int, typer.Option("-n", "--attempts", help="Attempts at each task.", min=1)] = 1,
    out: Annotated[Path, typer.Option(help="File of trajectories, a JSON line each; it goes on where it was.")] = Path(
        "rollout.jsonl"
    ),
    concurrency: Concurrency = 8,
    protocol: Annotated[
        Literal["tools", "text"], typer.Option(help="`text` for models that have no tool calls.")
    ] = "tools",
    fold: Annotated[int, typer.Option(help="Characters of tool results that are sent; older are folded.")] = 200_000,
    temperature: Annotated[float | None, typer.Option(help="Default: the endpoint's.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Of one answer; default: the endpoint's.", min=1)] = None,
    max_turns: Annotated[int | None, typer.Option(help="Of one attempt; default: the task's.", min=1)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Play tasks by a model, keep its trajectories, and print pass@1 and pass@n by kind.

    The endpoint's key is read from the variable OPENAI_API_KEY.
    """
    from envfarm.orchestrator.rollout.attempt import Options
    from envfarm.orchestrator.rollout.passes import summary

    limits = {} if max_turns is None else {"max_turns": max_turns}
    options = Options(protocol=protocol, fold=fold, temperature=temperature, max_tokens=max_tokens, limits=limits)
    chat = endpoint(model, name, concurrency)
    played = asyncio.run(roll_out(loaded.settings, tasks, chat, n, out, concurrency, options))
    rows = summary(played, n)
    table(rows, list(rows[0]) if rows else ["kind"], as_json=json)


def endpoint(url: str, name: str, concurrency: int) -> ChatModel:
    """The model at an endpoint, with the key that OPENAI_API_KEY says. Raises BadRequest."""
    from envfarm.toolbox.chat import ChatModel
    from envfarm.toolbox.endpoint import Limits

    if not url.startswith(("http://", "https://")):
        raise BadRequest(f"--model: {url!r} is no URL; write http://HOST:PORT/v1, and the model's name with --name")
    return ChatModel(url, name, os.environ.get(KEY), limits=Limits(concurrency=concurrency))


async def roll_out(
    settings: Settings, names: list[str], chat: ChatModel, n: int, out: Path, concurrency: int, options: Options
) -> list[Trajectory]:
    """Play what is left of so many attempts at each task, and say how it goes; all attempts, those kept before too."""
    from envfarm.orchestrator.rollout.ledger import Ledger
    from envfarm.orchestrator.rollout.rollout import Rollout

    ledger = Ledger(out, chat.model)
    async with connect_farm(settings) as farm, chat:
        with says_when_stopped():
            known = {task.id: task for task in await farm.tasks()}
            tasks = [known[id] for id in chosen(names, known)]
            total = sum(len(ledger.left(task.id, n)) for task in tasks)
            kept = len(tasks) * n - total
            console.print(f"{len(tasks)} tasks, {total} attempts to play, {kept} in {out} already", soft_wrap=True)
            done = 0
            async for one in Rollout(farm, chat, ledger, options).play(tasks, n, concurrency):
                done += 1
                earned = f"{one.value:g}" if one.value is not None else f"no reward ({one.reason or one.status})"
                console.print(
                    f"{done}/{total} {one.task} #{one.attempt}: {earned}, {one.turns} turns, {one.seconds:.0f} s",
                    soft_wrap=True,
                    markup=False,
                )
        return [ledger.known[task.id, k] for task in tasks for k in range(n) if (task.id, k) in ledger.known]
