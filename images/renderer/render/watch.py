"""What a page does, as it happens: console, errors, dialogs, requests, popups; and what answers its requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import (
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Download,
    Error,
    Frame,
    Page,
    Route,
    WebSocketRoute,
)

from envfarm.envs.web.recording import Request, Trace
from render import store
from render.site import ORIGIN, Reply, Site

MOST = 500  # entries of a kind that are kept
REDIRECTS = 20  # in a row, as browsers have it
LONGEST = 2_000  # characters of one


@dataclass
class Watch:
    """Collects the trace of one page."""

    site: Site
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    errors_before_paint: int = 0
    painted: bool = False
    document: Reply | None = None  # what the site said to the last navigation
    redirects: int = 0  # that it is away from the last document that was one
    crashed: bool = False
    closed: bool = False
    dialogs: list[str] = field(default_factory=list)
    navigations: list[str] = field(default_factory=list)
    popups: int = 0
    downloads: int = 0
    requests: list[Request] = field(default_factory=list)
    main: Page | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def attach(self, context: BrowserContext) -> None:
        """Answer all requests of a context, and close every further page."""
        await context.route("**/*", self._route)
        await context.route_web_socket("**/*", self._socket)
        context.on("page", self._other)

    def follow(self, page: Page) -> None:
        """Listen to the page that is recorded."""
        self.main = page
        page.on("console", self._console)
        page.on("pageerror", self._error)
        page.on("dialog", self._dialog)
        page.on("download", self._download)
        page.on("framenavigated", self._navigated)
        page.on("crash", lambda _: setattr(self, "crashed", True))
        page.on("close", lambda _: setattr(self, "closed", True))

    def trace(self) -> Trace:
        """All of it so far."""
        return Trace(
            console=tuple(self.console),
            errors=tuple(self.errors),
            errors_before_paint=self.errors_before_paint,
            dialogs=tuple(self.dialogs),
            navigations=tuple(self.navigations),
            popups=self.popups,
            downloads=self.downloads,
            requests=tuple(self.requests),
        )

    def _console(self, message: ConsoleMessage) -> None:
        _keep(self.console, f"{message.type}: {message.text}")

    def _error(self, error: Error) -> None:
        _keep(self.errors, str(error))
        self.errors_before_paint += not self.painted

    def _dialog(self, dialog: Dialog) -> None:
        _keep(self.dialogs, f"{dialog.type}: {dialog.message}")
        accept = dialog.type in ("confirm", "beforeunload", "alert")
        self._later(dialog.accept() if accept else dialog.dismiss())

    def _download(self, download: Download) -> None:
        self.downloads += 1
        self._later(download.cancel())

    def _navigated(self, frame: Frame) -> None:
        if frame.parent_frame is None:
            _keep(self.navigations, frame.url)

    def _other(self, page: Page) -> None:
        if self.main is not None and page is not self.main:
            self.popups += 1
            self._later(page.close())

    def _socket(self, socket: WebSocketRoute) -> None:
        self._request(Request(url=socket.url[:LONGEST], by="blocked"))
        self._later(socket.close())

    def _request(self, request: Request) -> None:
        if len(self.requests) < MOST:
            self.requests.append(request)

    def _later(self, work: Coroutine[Any, Any, object]) -> None:
        async def quietly() -> None:
            with contextlib.suppress(Error):  # the page is gone, and what it asked with it
                await work

        task = asyncio.get_running_loop().create_task(quietly())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _route(self, route: Route) -> None:
        with contextlib.suppress(Error):  # the page went away meanwhile
            await self._answer(route)

    async def _answer(self, route: Route) -> None:
        request = route.request
        url = request.url
        address = urlsplit(url)
        if f"{address.scheme}://{address.netloc}" == ORIGIN:
            await self._from_site(route)
        elif address.scheme == "https" and address.hostname in store.CDN and (found := store.answer(url)):
            self._request(Request(url=url[:LONGEST], by="store", status=200))
            headers = {"content-type": found.kind, "access-control-allow-origin": "*"}
            await route.fulfill(status=200, headers=headers, body=found.body)
        else:
            self._request(Request(url=url[:LONGEST], by="blocked"))
            await route.abort("blockedbyclient")

    async def _from_site(self, route: Route) -> None:
        """What the page's own site says. Playwright routes no redirected request, so redirects are made here."""
        request = route.request
        navigates = request.is_navigation_request() and request.frame.parent_frame is None
        try:
            reply = await self.site.ask(request.method, request.url, request.headers, request.post_data_buffer)
            for _ in range(0 if navigates else REDIRECTS):
                if (to := reply.redirect(request.url)) is None or not to.startswith(ORIGIN + "/"):
                    break
                reply = await self.site.ask("GET", to, request.headers, None)
        except OSError:
            self._request(Request(url=request.url[:LONGEST], by="failed"))
            await route.abort("failed")
            return
        self._request(Request(url=request.url[:LONGEST], by="site", status=reply.status))
        to = reply.redirect(request.url)
        if navigates:
            self.document = reply
            self.redirects = 0 if to is None else self.redirects + 1
        if to is None:
            await route.fulfill(status=reply.status, headers=reply.headers, body=reply.body)
        elif navigates and self.redirects <= REDIRECTS:
            step = f"<script>location.replace({json.dumps(to).replace('<', '%3C')})</script>"
            await route.fulfill(status=200, headers={"content-type": "text/html"}, body=step)
        else:
            await route.abort("blockedbyclient")


def _keep(entries: list[str], text: str) -> None:
    if len(entries) < MOST:
        entries.append(text[:LONGEST])
