"""`envfarm serve`: the farm behind its HTTP port, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console
from envfarm.orchestrator.settings import Loaded, Settings

_NAMED = 5  # tasks that cannot be used; more would hide the server's address


@with_settings()
def serve(loaded: Loaded) -> None:
    """Serve episodes over HTTP."""
    import uvloop

    settings = loaded.settings
    # A full collection walks all live episodes: by default that takes as long as the steps of 1,000 of them.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from envfarm import __version__
    from envfarm.orchestrator.http.serving import data_folder, serving

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log = data_folder(settings) / "logs" / "server.log"
    _log_to(log, settings.log_level)
    async with serving(settings) as server:
        broken = [] if server.registry is None else list(server.registry.errors())
        console.print(
            f"envfarm {__version__} serves {len(server.registry or ()) - len(broken)} tasks on {server.url} "
            f"(pages: {server.url}/docs, log: {log}); stop with Ctrl-C",
            soft_wrap=True,
        )
        for name, where in server.doors:
            console.print(f"{name} on {where}", soft_wrap=True)
        if broken:
            more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
            names = ", ".join(broken[:_NAMED])
            console.print(
                f"{len(broken)} cannot be used: {names}{more}; `envfarm tasks list` says why",
                soft_wrap=True,
                markup=False,
            )
        await stop.wait()
        stop.clear()
        console.print("stopping, once the steps that run have ended; a second time to stop at once")
        if server.drain is not None:
            await _first(server.drain(settings.drain_seconds), stop.wait())


async def _first(*work: Awaitable[object]) -> None:
    """Wait for whichever ends first, and cancel the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _log_to(path: Path, level: str) -> None:
    """Keep the server's log in a file, at most 5 × 10 MB, and show its warnings."""
    kept = RotatingFileHandler(path, maxBytes=10 << 20, backupCount=4)
    shown = logging.StreamHandler()
    shown.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    logging.basicConfig(
        level=level.upper(), handlers=[kept, shown], format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
