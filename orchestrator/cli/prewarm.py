"""`envfarm tasks prewarm`: pulls the images of a table onto every node of a cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envfarm.orchestrator.cli import REFUSED
from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console, says_when_stopped
from envfarm.orchestrator.settings import Loaded, Settings
from envfarm.toolbox.errors import BadRequest

if TYPE_CHECKING:
    from envfarm.k8s.prewarm import Nodes


@with_settings("kubernetes", "images")
def prewarm(
    loaded: Loaded,
    timeout: Annotated[float, typer.Option(help="Seconds that it may take.", min=1)] = 1800.0,
) -> None:
    """Pull tasks' images onto every node, with your kubeconfig. Exit code 1: not every node has them all."""
    table = loaded.settings.images
    if table is None:
        raise BadRequest("images: name the table that `envfarm tasks push` wrote, with --images or the setting images")
    last = asyncio.run(_prewarm(loaded.settings, table, timeout))
    missing = last.missing()
    for image in missing:
        for node, why in sorted(last.why.get(image, {}).items()):
            console.print(f"{image}: not on {node}: {why}", soft_wrap=True, markup=False)
    for node, why in sorted(last.waiting.items()):
        console.print(f"{node}: nothing is pulled: {why}", soft_wrap=True, markup=False)
    console.print(f"{len(last.have) - len(missing)} of {len(last.have)} images are on all of {last.wanted} nodes")
    if missing or not last.wanted:
        raise typer.Exit(REFUSED)


async def _prewarm(settings: Settings, table: Path, timeout: float) -> Nodes:
    from envfarm.k8s.client import ClusterApi
    from envfarm.k8s.pod import Template
    from envfarm.k8s.prewarm import Nodes, Prewarm
    from envfarm.tasks.pushed import PushedTable

    pushed = PushedTable.read(table)
    images = [settings.kubernetes.cut_image, *(i for one in pushed.tasks.values() for i in (one.agent, one.verifier))]
    api = ClusterApi(settings.kubernetes)
    last, said = Nodes(), ""
    try:
        with says_when_stopped():
            async for last in Prewarm(api, Template.load(settings.kubernetes.template), images).run(timeout):
                here = sum(len(nodes) for nodes in last.have.values())
                if (now := f"{here} of {last.wanted * len(last.have)} pulled, on {last.wanted} nodes") != said:
                    said = now
                    console.print(now)
    finally:
        await api.close()
    return last
