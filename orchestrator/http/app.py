"""The HTTP server: the route table, the boundary, and nothing that the farm would miss without them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from aiohttp import web

from envfarm.orchestrator.dialects.mcp import TURNS
from envfarm.orchestrator.dialects.table import DIALECTS
from envfarm.orchestrator.http.auth import Auth
from envfarm.orchestrator.http.boundary import AUTH, FARM, METRICS, boundary, endpoint
from envfarm.orchestrator.http.forwarding import FORWARDER, Forwarder
from envfarm.orchestrator.http.inflight import IN_FLIGHT, InFlight
from envfarm.orchestrator.http.metrics import Metrics
from envfarm.orchestrator.http.openapi import OPENAPI, PAGE, document, page
from envfarm.orchestrator.http.routes import ROUTES
from envfarm.orchestrator.http.sse import STREAMS, shut_down

if TYPE_CHECKING:
    from envfarm.orchestrator.farm.farm import Farm


def make_app(
    farm: Farm, *, body_limit: int, tokens: Sequence[str] = (), dialects: Sequence[str] = ()
) -> web.Application:
    """The application over a farm that somebody else starts and closes.

    `body_limit` is in bytes. Tokens are `TOKEN`, or `TOKEN:RUN` for one run only; without any, only this machine is
    answered. `dialects` are those of the table.
    """
    app = web.Application(middlewares=[boundary], client_max_size=body_limit)
    app[FARM] = farm
    app[AUTH] = Auth(tokens)
    app[METRICS] = Metrics(farm.toolbox.stats, farm.counts)
    app[STREAMS] = set()
    app[TURNS] = WeakValueDictionary()
    routes = [*ROUTES, *(route for name in dialects for route in DIALECTS[name])]
    doc = document(routes)
    app[OPENAPI] = json.dumps(doc).encode()
    app[PAGE] = page(doc)
    app[IN_FLIGHT] = InFlight()
    app[FORWARDER] = Forwarder(farm)
    app.cleanup_ctx.append(app[FORWARDER].life)
    app.on_shutdown.extend((shut_down, app[IN_FLIGHT].end))
    app.router.add_get("/", _home)
    for route in routes:
        app.router.add_route(route.method, route.path, endpoint(route))
    return app


async def _home(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/docs"})  # for people; clients begin with /v1


def make_runner(app: web.Application) -> web.AppRunner:
    """What serves the application: long polls do not hold up its end, nor does broken HTTP fill the log."""
    return web.AppRunner(app, access_log=None, shutdown_timeout=2.0, logger=_protocol_log())


def _protocol_log() -> logging.Logger:
    """aiohttp's own log: with the boundary around every handler, all it can tell of is what clients do wrong."""
    log = logging.getLogger("envfarm.orchestrator.protocol")
    if not log.filters:
        log.addFilter(_one_line)
    return log


def _one_line(record: logging.LogRecord) -> bool:
    if record.exc_info is not None and record.exc_info[1] is not None:
        record.msg, record.args = "%s: %s", (record.getMessage(), " ".join(str(record.exc_info[1]).split()))
        record.exc_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True
