"""The HTTP server: the route table, the boundary, and nothing that the farm would miss without them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from aiohttp import web

from envfarm.orchestrator.dialects.ors_calls import UNREAD
from envfarm.orchestrator.dialects.table import DIALECTS
from envfarm.orchestrator.dialects.turns import TURNS
from envfarm.orchestrator.http.auth import Auth
from envfarm.orchestrator.http.boundary import AUTH, FARM, METRICS, Route, boundary, endpoint
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
    app = _bare(farm, Auth(tokens), Metrics(farm.toolbox.stats, farm.counts), Forwarder(farm), body_limit)
    routes = [*ROUTES, *(route for name in dialects for route in DIALECTS[name].on_the_farms_port())]
    doc = document(routes)
    app[OPENAPI] = json.dumps(doc).encode()
    app[PAGE] = page(doc)
    app.router.add_get("/", _home)
    _add(app, routes)
    return app


def make_door(app: web.Application, name: str, *, body_limit: int) -> web.Application:
    """A dialect alone, without its prefix, for a port of its own; tokens and metrics are those of the farm's port."""
    dialect = DIALECTS[name]
    farm = app[FARM]
    door = _bare(farm, app[AUTH], app[METRICS], Forwarder(farm, dialect.prefix), body_limit)
    door[TURNS] = app[TURNS]
    door[UNREAD] = app[UNREAD]
    _add(door, dialect.routes)
    return door


def _bare(farm: Farm, auth: Auth, metrics: Metrics, forwarder: Forwarder, body_limit: int) -> web.Application:
    app = web.Application(middlewares=[boundary], client_max_size=body_limit)
    app[FARM] = farm
    app[AUTH] = auth
    app[METRICS] = metrics
    app[STREAMS] = set()
    app[TURNS] = WeakValueDictionary()
    app[UNREAD] = {}
    app[IN_FLIGHT] = InFlight()
    app[FORWARDER] = forwarder
    app.cleanup_ctx.append(forwarder.life)
    app.on_shutdown.extend((shut_down, app[IN_FLIGHT].end))
    return app


def _add(app: web.Application, routes: Iterable[Route]) -> None:
    for route in routes:
        app.router.add_route(route.method, route.path, endpoint(route))


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
