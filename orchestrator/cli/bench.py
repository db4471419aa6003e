"""`envfarm bench`: the farm side by side with what it must beat, in one run."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envfarm.orchestrator.cli.output import console, table

if TYPE_CHECKING:
    from envfarm.orchestrator.bench.report import Row

COLUMNS = ["name", "unit", "ours", "peer", "peer_name", "ratio"]


class Name(StrEnum):
    """The benchmarks; each is the module of its name in envfarm.orchestrator.bench."""

    step = "step"
    start = "start"
    churn = "churn"
    fork = "fork"
    steps = "steps"
    pods = "pods"
    cluster = "cluster"
    search = "search"
    record = "record"
    all = "all"


_NOT_OF_ALL = (Name.all, Name.pods, Name.cluster, Name.search, Name.record)
"""What `all` leaves out: these need a cluster, or have a table of their own."""


def bench(
    name: Annotated[Name, typer.Argument(help="What to measure.")],
    rounds: Annotated[int, typer.Option(help="How often.", min=1)] = 200,
    cache: Annotated[Path, typer.Option(help="Folder for the peers' virtual environments.")] = Path(".cache"),
    into: Annotated[Path | None, typer.Option(help="Markdown file whose table to replace.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the farm beside its peers on this machine; a ratio above 1 means that ours is better."""
    rows: list[Row] = []
    for chosen in [other for other in Name if other not in _NOT_OF_ALL] if name is Name.all else [name]:
        console.print(f"measuring {chosen} …")
        rows += asyncio.run(import_module(f"envfarm.orchestrator.bench.{chosen}").measure(rounds, cache))
    table([row.model_dump() for row in rows], COLUMNS, as_json=json)
    if into is not None:
        from envfarm.orchestrator.bench.report import replace_table

        replace_table(into, rows, name)
