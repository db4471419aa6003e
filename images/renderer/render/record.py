"""One recording, from the job to its result: serve, load, settle, play the steps, explore, measure, close."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, Error, Page, async_playwright

from envfarm.envs.web.recording import Recording, RenderJob, Signals
from render.browser import context, launch
from render.clock import Clock, Exact, Live, Stuck, advance, answer
from render.explore import explore
from render.script import play
from render.signals import TEXT, audit, layout, wider
from render.site import ORIGIN, SITE, Folder, Reply, Server, Site
from render.stills import blank
from render.take import Take
from render.targets import World
from render.watch import REDIRECTS, Watch

CLOSE = 10.0  # wall-clock seconds for the browser's end


class NotExact(Exception):
    """The page must be recorded live; the message says why."""


@dataclass(frozen=True)
class Stage:
    """An open page and the hands on it."""

    page: Page
    clock: Clock
    world: World


async def record(job: RenderJob, folder: Path) -> Recording:
    """Record as the job says; a page's faults are outcomes, those of the machine raise."""
    site: Site = Folder(SITE / job.serve.folder)
    server = None if job.serve.command is None else Server(job.serve.port)
    takes = [Take(job, folder, Watch(server or site), "live" if job.mode == "live" else "exact")]
    began = time.monotonic()
    if server is not None:
        if (why := await server.listening(job.serve.start_seconds)) is not None:
            takes[0].end("not_served", why)
            return takes[0].recording()
        takes[0].seconds["start"] = round(time.monotonic() - began, 3)
    try:
        async with asyncio.timeout(job.deadline) as deadline:
            await _record(takes)
    except TimeoutError:
        if not deadline.expired():
            raise
        takes[-1].end("timed_out", f"not done after {job.deadline:g} seconds")
    return takes[-1].recording()


async def _record(takes: list[Take]) -> None:
    """Record in the take's mode, and where that cannot be and the job leaves it open, once more in live mode."""
    try:
        await _film(takes[0])
    except NotExact as why:
        first = takes[0]
        takes.append(
            Take(first.job, first.folder, Watch(first.watch.site), "live", mode_why=str(why), seconds=first.seconds)
        )
        await _film(takes[1])


async def _film(take: Take) -> None:
    """One take, from the browser's start to its end. Raises NotExact."""
    began = time.monotonic()
    async with async_playwright() as playwright, _browser(await launch(playwright, take.mode)) as browser:
        try:
            async with _stage(browser, take.watch, take, take.job.viewport, film=True) as stage:
                stage.clock.on_frame = take.frame
                await _played(take, stage)
                take.seconds["record"] = round(time.monotonic() - began, 3)
        finally:  # at the deadline too
            await take.develop()
        take.seconds["encode"] = round(time.monotonic() - began - take.seconds["record"], 3)
        if take.outcome == "ok":
            await _phone(take, browser)


async def _played(take: Take, stage: Stage) -> None:
    """The scene, and what its end was. Raises NotExact."""
    try:
        await _scene(take, stage)
    except Stuck as stuck:
        take.end("timed_out", str(stuck))
    except (Error, ValueError) as error:
        gone = take.watch.crashed or take.watch.closed or stage.page.is_closed()
        take.end("crashed" if gone else "bad_document", str(error).strip().splitlines()[0][:300])


@contextlib.asynccontextmanager
async def _browser(browser: Browser) -> AsyncIterator[Browser]:
    try:
        yield browser
    finally:
        with contextlib.suppress(TimeoutError, Error):  # its processes are killed after ours in any case
            await asyncio.wait_for(browser.close(), CLOSE)


@contextlib.asynccontextmanager
async def _stage(
    browser: Browser, watch: Watch, take: Take, size: tuple[int, int], *, film: bool = False
) -> AsyncIterator[Stage]:
    """A page in a context of its own: the one that is filmed, or a phone's."""
    job, live = take.job, take.mode == "live"
    made = await context(browser, size, phone=not film, videos=take.live if film and live else None)
    await watch.attach(made)
    page = await made.new_page()
    watch.follow(page)
    session = await made.new_cdp_session(page)
    clock: Clock = (
        Live(page, job.fps, job.patience) if live else Exact(page, session, job.fps, job.refresh, job.patience)
    )
    try:
        yield Stage(page, clock, World(session, job.patience))
    finally:
        if live:  # its video is whole when it is closed
            with contextlib.suppress(TimeoutError, Error):
                await asyncio.wait_for(made.close(), CLOSE)


async def _go(job: RenderJob, page: Page) -> None:
    """Open the main document. Raises Stuck, Error."""
    await answer(page.goto(ORIGIN + job.serve.path, wait_until="commit", timeout=0), job.patience)


async def _load(take: Take, stage: Stage) -> bool:
    """Whether the main document came."""
    await stage.clock.begin()
    await _go(take.job, stage.page)
    while take.watch.redirects:
        if take.watch.redirects > REDIRECTS:
            take.end("bad_document", f"the main document redirects more than {REDIRECTS} times")
            return False
        await stage.clock.tick()
    document = take.watch.document or Reply(0)
    take.status = document.status
    kind = document.headers.get("content-type", "")
    if not 200 <= document.status < 300 or "html" not in kind:
        take.end("bad_document", f"the main document is {document.status} {kind or 'without a type'}")
        return False
    return True


async def _scene(take: Take, stage: Stage) -> None:
    """From the first frame to the last. Raises Stuck, Error, NotExact."""
    job, clock = take.job, stage.clock
    if not await _load(take, stage):
        return
    await _settle(take, stage)
    for step in job.steps:
        if clock.now >= job.seconds:
            break
        take.steps.append(await play(stage.page, stage.world, clock, step))
        take.still(clock, f"after: {step.name}")
        if take.watch.crashed or take.watch.closed:
            take.end("crashed", "the page closed itself or its process ended")
            return
    async for what in explore(stage.page, stage.world, clock, job):
        take.still(clock, f"explored: {what}")
    if not job.steps and not job.explore:
        await advance(clock, job.seconds - clock.now)
    take.still(clock, "end")
    take.accessibility.append(await _snapshot(stage.page))
    take.text = str(await stage.world.run(TEXT))


async def _settle(take: Take, stage: Stage) -> None:
    """The first second: its first paint, whether exact mode can show it, and its layout when it stands."""
    job, clock = take.job, stage.clock
    try:
        await clock.tick()
    except Stuck as stuck:
        if take.mode == "exact" and job.mode == "auto" and await stage.world.answers():
            raise NotExact(str(stuck)) from None  # its scripts have come to an end: it is the drawing that does not
        raise
    while clock.now < job.settle or not clock.frames:
        if take.watch.painted and not take.stills.kept:
            take.still(clock, "first paint")
        await clock.tick()
    if take.mode == "exact" and job.mode == "auto" and await stage.world.run("!!document.querySelector('video,audio')"):
        raise NotExact("the page has a <video> or <audio>")
    take.still(clock, "settled")
    take.accessibility.append(await _snapshot(stage.page))
    take.signals = Signals(blank=round(blank(clock.frames[-1]), 4))
    with contextlib.suppress(ValueError):  # a page can take its own root away
        take.signals = take.signals.model_copy(update=await layout(stage.world))
        take.signals = take.signals.model_copy(update=await audit(stage.world, nodes=take.signals.nodes))


async def _snapshot(page: Page) -> str:
    """What a screen reader would be told; nothing of a document without a body."""
    try:
        return await page.locator("body").aria_snapshot()
    except Error:
        return ""


async def _phone(take: Take, browser: Browser) -> None:
    """A still of a phone's width, from a fresh load that the trace does not count."""
    async with _stage(browser, Watch(take.watch.site), take, take.job.mobile) as stage:
        try:
            await stage.clock.begin()
            await _go(take.job, stage.page)
            await advance(stage.clock, take.job.settle)
            take.signals = take.signals.model_copy(
                update={"overflow_mobile": await wider(stage.world, take.job.mobile[0])}
            )
        except (Stuck, Error, ValueError):
            return
    (take.folder / "mobile.jpg").write_bytes(stage.clock.frames[-1])
    take.mobile = "mobile.jpg"
