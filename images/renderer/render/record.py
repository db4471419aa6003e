"""One recording, from the job to its result: serve, load, settle, play the steps, explore, measure, close."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from playwright.async_api import Browser, Error, Page, async_playwright

from render import store
from render.browser import context, launch
from render.clock import Clock, Exact, Live, Stuck, digest
from render.explore import explore
from envfarm.tasks.action import Mode
from envfarm.envs.web.recording import Recording, RenderJob, Signals, StepResult
from render.script import advance, play
from render.signals import TEXT, measure
from render.site import ORIGIN, SITE, Folder, Server, Site
from render.stills import Stills, blank
from render.targets import World
from render.video import Video
from render.watch import Watch

Outcome = Literal["ok", "build_failed", "not_served", "bad_document", "timed_out", "crashed", "infra"]
PATIENCE = 8.0  # wall-clock seconds for one frame, and for one answer of the page


@dataclass
class Take:
    """What a recording has so far, so that a page that stops answering leaves what it showed."""

    job: RenderJob
    folder: Path
    mode: Mode = "exact"
    mode_why: str | None = None
    outcome: Outcome = "ok"
    why: str | None = None
    status: int | None = None
    steps: list[StepResult] = field(default_factory=list)
    signals: Signals = field(default_factory=Signals)
    seconds: dict[str, float] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)
    accessibility: list[str] = field(default_factory=list)
    text: str = ""
    watch: Watch | None = None
    stills: Stills | None = None
    video: str | None = None
    mobile: str | None = None

    def end(self, outcome: Outcome, why: str) -> None:
        """Keep the first thing that went wrong."""
        if self.outcome == "ok":
            self.outcome, self.why = outcome, why

    def recording(self) -> Recording:
        """As it stands."""
        trace = None if self.watch is None else self.watch.trace()
        skipped = [StepResult(name=step.name, ok=False, checks=(False,) * len(step.checks), why="not reached")
                   for step in self.job.steps[len(self.steps) :]]  # fmt: skip
        missing = tuple(p for p in self.job.promised if store.package(*_split(p)) is None)
        known = Recording(
            outcome="infra" if missing else self.outcome,
            why=f"the store lacks {', '.join(missing)}" if missing else self.why,
            mode=self.mode, mode_why=self.mode_why, status=self.status, steps=(*self.steps, *skipped),
            signals=self.signals, digests=tuple(self.digests), video=self.video, mobile=self.mobile, missing=missing,
            keyframes=() if self.stills is None else tuple(self.stills.kept),
            contact=None if self.stills is None else self.stills.contact(),
        )  # fmt: skip
        if trace is None:
            return known
        start, end = [*self.accessibility, "", ""][0], self.accessibility[-1] if self.accessibility else ""
        more = {"accessibility_start": start, "accessibility_end": end, "text": self.text, "seconds": self.seconds}
        return known.model_copy(update={"trace": trace.model_copy(update=more)})


async def record(job: RenderJob, folder: Path) -> Recording:
    """Record as the job says; a page's faults are outcomes, those of the machine raise."""
    take = Take(job, folder, mode="live" if job.mode == "live" else "exact")
    site: Site = Folder(SITE / job.serve.folder)
    if job.serve.command is not None:
        site = server = Server(job.serve.port)
        if (why := await server.listening(job.serve.start_seconds)) is not None:
            take.end("not_served", why)
            return take.recording()
    begun = time.monotonic()
    try:
        async with asyncio.timeout(job.deadline):
            await _record(take, site)
    except TimeoutError:
        take.end("timed_out", f"not done after {job.deadline:g} seconds")
    take.seconds["record"] = round(time.monotonic() - begun, 3)
    return take.recording()


async def _record(take: Take, site: Site) -> None:
    async with async_playwright() as playwright:
        browser = await launch(playwright, take.mode)
        try:
            again = await _film(take, browser, site)
        finally:
            await asyncio.wait_for(browser.close(), 10)
        if again is not None:
            take.mode, take.mode_why = "live", again
            take.steps, take.digests, take.accessibility = [], [], []
            take.outcome, take.why = "ok", None
            browser = await launch(playwright, "live")
            try:
                await _film(take, browser, site)
            finally:
                await asyncio.wait_for(browser.close(), 10)


async def _film(take: Take, browser: Browser, site: Site) -> str | None:
    """One pass; why it must be live instead, where it must."""
    job = take.job
    take.watch = watch = Watch(site)
    take.stills = Stills(take.folder)
    made = await context(browser, job.viewport)
    await watch.attach(made)
    page, clock, world = await _open(take, browser, made_page=await made.new_page(), watch=watch)
    video = Video(take.folder / "video.webm", job.fps, job.viewport)

    async def each(frame: bytes) -> None:
        take.digests.append(digest(frame))
        watch.painted = watch.painted or blank(frame) < 0.999
        await video.add(frame)

    clock.on_frame = each
    again = None
    try:
        again = await _scene(take, page, clock, world)
    except Stuck as stuck:
        if not clock.frames and take.mode == "exact" and job.mode == "auto" and not watch.errors:
            again = str(stuck)
        take.end("timed_out", str(stuck))
    except Error as error:
        gone = watch.crashed or watch.closed or page.is_closed()
        take.end("crashed" if gone else "bad_document", str(error).strip().splitlines()[0][:300])
    take.video = await video.finish()
    if again is None and take.outcome == "ok":
        await _phone(take, browser, site)
    return again


async def _open(take: Take, browser: Browser, made_page: Page, watch: Watch) -> tuple[Page, Clock, World]:
    watch.follow(made_page)
    session = await made_page.context.new_cdp_session(made_page)
    clock: Clock = Live(made_page, take.job.fps, PATIENCE)
    if take.mode == "exact":
        clock = Exact(made_page, session, take.job.fps, PATIENCE)
    return made_page, clock, World(session)


async def _load(take: Take, page: Page, clock: Clock) -> bool:
    """Whether the main document came."""
    await clock.begin()
    answer = await page.goto(ORIGIN + take.job.serve.path, wait_until="commit", timeout=PATIENCE * 1000)
    take.status = None if answer is None else answer.status
    kind = "" if answer is None else answer.headers.get("content-type", "")
    if answer is None or not answer.ok or "html" not in kind:
        take.end("bad_document", f"the main document is {take.status} {kind or 'without a type'}")
        return False
    return True


async def _scene(take: Take, page: Page, clock: Clock, world: World) -> str | None:
    """From the first frame to the last; why it must be live instead, where it must."""
    job, stills, watch = take.job, take.stills, take.watch
    assert stills is not None  # noqa: S101
    assert watch is not None  # noqa: S101
    if not await _load(take, page, clock):
        return None
    while clock.now < job.settle or not clock.frames:
        await clock.tick()
        if watch.painted and not stills.kept:
            _still(take, clock, "first paint")
    if take.mode == "exact" and job.mode == "auto" and await world.run("!!document.querySelector('video,audio')"):
        return "the page has a <video> or <audio>"
    _still(take, clock, "settled")
    take.accessibility.append((await page.locator("body").aria_snapshot())[:50_000])
    share = blank(clock.frames[-1])
    take.signals = Signals(blank=round(share, 4))
    take.signals = await asyncio.wait_for(measure(world, blank=share), 20)
    for step in job.steps:
        if clock.now >= job.seconds:
            break
        take.steps.append(await play(page, world, clock, step))
        _still(take, clock, f"after: {step.name}")
        if watch.crashed or watch.closed:
            take.end("crashed", "the page closed itself or its process ended")
            return None
    async for what in explore(page, world, clock, job):
        _still(take, clock, f"explored: {what}")
    if not job.steps and not job.explore:
        await advance(clock, min(job.seconds, 20.0) - clock.now)
    _still(take, clock, "end")
    take.accessibility.append((await page.locator("body").aria_snapshot())[:50_000])
    take.text = str(await world.run(TEXT))
    return None


async def _phone(take: Take, browser: Browser, site: Site) -> None:
    """A still of a phone's width, from a fresh load that the trace does not count."""
    watch = Watch(site)
    made = await context(browser, take.job.mobile)
    await watch.attach(made)
    page, clock, world = await _open(take, browser, made_page=await made.new_page(), watch=watch)
    try:
        await clock.begin()
        await page.goto(ORIGIN + take.job.serve.path, wait_until="commit", timeout=PATIENCE * 1000)
        await advance(clock, take.job.settle)
        wide = int(await world.run("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
    except (Stuck, Error, ValueError):
        return
    take.signals = take.signals.model_copy(update={"overflow_mobile": max(0, wide)})
    (take.folder / "mobile.jpg").write_bytes(clock.frames[-1])
    take.mobile = "mobile.jpg"


def _still(take: Take, clock: Clock, why: str) -> None:
    if take.stills is not None and clock.frames:
        take.stills.add(clock.frames[-1], frame=len(clock.frames) - 1, time=clock.now, why=why)


def _split(promised: str) -> tuple[str, str]:
    """`react@18` or `@fontsource/inter`: name and version."""
    name, _, version = promised[1:].partition("@") if urlsplit(promised).scheme == "" else (promised, "", "")
    return promised[:1] + name, version
