"""The server itself: artefacts, health, metrics, documentation."""

from __future__ import annotations

import codecs
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from envfarm import __version__
from envfarm.orchestrator.errors import Forbidden
from envfarm.orchestrator.http.boundary import METRICS, Nothing, Reply, Request
from envfarm.orchestrator.http.forwarding import FORWARDER
from envfarm.orchestrator.http.metrics import CONTENT_TYPE
from envfarm.orchestrator.http.openapi import OPENAPI, PAGE
from envfarm.orchestrator.http.routes.queries import Artifact
from envfarm.orchestrator.schemas.episodes import HealthView, ReadyView
from envfarm.toolbox.errors import NotFound

_SNIFFED = 4096


async def artifact(request: Request[Artifact, Nothing]) -> web.StreamResponse:
    """A file by its digest; ranges are served."""
    try:
        path = await request.farm.artifact(request.path("digest"), run=request.caller.run)
    except NotFound:
        found = await request.http.app[FORWARDER].artifact(request.http)
        if found is None:
            raise
        return found
    headers = {
        "Content-Type": _media_type(path),
        "Cache-Control": "private, max-age=31536000, immutable",
        # It may come from a hostile sandbox: a browser must not take it for a page of ours.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    if request.query.name is not None:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(request.query.name, safe='')}"
    return web.FileResponse(path, headers=headers)


async def health(request: Request[Nothing, Nothing]) -> HealthView:
    """The process is up."""
    return HealthView(version=__version__)


async def ready(request: Request[Nothing, Nothing]) -> ReadyView | Reply:
    """Whether episodes can be served now; 503 when they cannot."""
    view = await request.farm.ready()
    return view if view.ready else Reply(view, 503)


async def metrics(request: Request[Nothing, Nothing]) -> web.StreamResponse:
    """Numbers in the Prometheus text format."""
    if request.caller.run is not None:
        raise Forbidden("metrics are those of every run; send a token for the whole farm")
    return web.Response(body=request.http.app[METRICS].text(), headers={"Content-Type": CONTENT_TYPE})


async def openapi(request: Request[Nothing, Nothing]) -> web.StreamResponse:
    """This API as an OpenAPI 3.1 document."""
    return web.Response(body=request.http.app[OPENAPI], content_type="application/json")


async def docs(request: Request[Nothing, Nothing]) -> web.StreamResponse:
    """This API as a page to read."""
    return web.Response(text=request.http.app[PAGE], content_type="text/html")


def _media_type(path: Path) -> str:
    """Text where the first bytes are UTF-8 without control characters, else bytes."""
    with path.open("rb") as file:
        head = file.read(_SNIFFED)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "application/octet-stream" if "\0" in text else "text/plain; charset=utf-8"
