"""The HTTP server: the route table, the boundary, and nothing that the farm would miss without them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from envfarm.orchestrator.auth import Auth
from envfarm.orchestrator.http import AUTH, FARM, METRICS, boundary, endpoint
from envfarm.orchestrator.metrics import Metrics
from envfarm.orchestrator.openapi import OPENAPI, PAGE, document, page
from envfarm.orchestrator.routes import ROUTES
from envfarm.orchestrator.sse import STREAMS, shut_down

if TYPE_CHECKING:
    from envfarm.orchestrator.farm import Farm

BODY_LIMIT = 8 << 20
"""Bytes of a request's body."""


def make_app(farm: Farm, *, tokens: Sequence[str] = (), body_limit: int = BODY_LIMIT) -> web.Application:
    """The application over a farm that somebody else starts and closes.

    Tokens are `TOKEN`, or `TOKEN:RUN` for one run only; without any, only this machine is answered.
    """
    app = web.Application(middlewares=[boundary], client_max_size=body_limit)
    app[FARM] = farm
    app[AUTH] = Auth(tokens)
    app[METRICS] = Metrics(farm.toolbox.stats, farm.counts)
    app[STREAMS] = set()
    doc = document(ROUTES)
    app[OPENAPI] = json.dumps(doc).encode()
    app[PAGE] = page(doc)
    app.on_shutdown.append(shut_down)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, endpoint(route))
    return app
