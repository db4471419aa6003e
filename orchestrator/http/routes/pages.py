"""Pages for people: they hold nothing themselves, and ask the API for all that they show."""

from __future__ import annotations

import secrets
from functools import cache
from importlib.resources import files

from aiohttp import web

from envfarm.orchestrator.http.boundary import Nothing, Request

_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src blob:; "
    "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def episode(request: Request[Nothing, Nothing]) -> web.StreamResponse:
    """An episode as a page to read: its steps, its reward, and the film of what was built."""
    nonce = secrets.token_urlsafe(16)
    headers = {
        "Content-Security-Policy": _POLICY.format(nonce=nonce),  # what models wrote is shown there
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return web.Response(text=_page().replace("NONCE", nonce), content_type="text/html", headers=headers)


@cache
def _page() -> str:
    return files("envfarm.orchestrator.http").joinpath("episode.html").read_text(encoding="utf-8")
