"""Page time: `Exact` moves it frame by frame with all clocks of the page on it, `Live` lets it pass."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, Protocol, TypeVar

from playwright.async_api import CDPSession, Page

EPOCH = 1_767_225_600  # what the page's clock says at first, seconds: the first of January 2026
ARRIVES = 0.1  # wall-clock seconds in which a turned wheel has reached the page's process, where it waits for a frame
LAG, PAST = 1000, 500  # microseconds
"""A frame is LAG longer than it is said to be, and the first one PAST more. A page's timers are whole milliseconds
after a start, an input or a frame: one that is due when a frame's time ends comes before the frame or after it by
chance, so none is ever due then. Chromium blurs a page's clocks by chance too, but not multiples of 100 µs."""
STEADY = """(now => { performance.now = { now() { return Math.floor(now.call(performance) + 0.25); } }.now; })(
  performance.now)"""
"""A page's performance.now() is off by tenths of a millisecond by chance; whole milliseconds are the same each time."""
LATE = 2.0  # wall-clock seconds after which other input is given a frame too

T = TypeVar("T")
Input = Literal["press", "move", "wheel"]
OnFrame = Callable[[bytes], Awaitable[None]]


class Stuck(Exception):
    """The page does not come to its next frame."""


class Clock(Protocol):
    """Where page time comes from, and pictures of it."""

    now: float  # page time, seconds
    frames: list[bytes]  # JPEG, in order
    on_frame: OnFrame
    patience: float  # wall-clock seconds for one frame

    async def begin(self) -> None:
        """Before the page loads."""

    async def tick(self) -> None:
        """One frame further. Raises Stuck."""

    async def act(self, work: Coroutine[Any, Any, object], kind: Input = "press") -> None:
        """Give the page input. Raises Stuck."""


class Exact:
    """Virtual time and frames on demand: equal pages give equal bytes."""

    def __init__(self, page: Page, session: CDPSession, fps: int, patience: float, quality: int = 80) -> None:
        self.page, self.session = page, session
        self.interval = 1_000_000 // fps  # microseconds
        self.patience = patience  # wall-clock seconds for one frame
        self.quality = quality
        self.now = 0.0
        self.frames: list[bytes] = []
        self.base = 0  # microseconds
        self.count = 0
        self.expired = asyncio.Event()
        self.on_frame: OnFrame = _nothing
        session.on("Emulation.virtualTimeBudgetExpired", lambda _: self.expired.set())

    async def begin(self) -> None:
        await self.page.add_init_script(STEADY)
        await self.session.send("HeadlessExperimental.enable")
        answer = await self.session.send(
            "Emulation.setVirtualTimePolicy", {"policy": "pause", "initialVirtualTime": EPOCH}
        )
        self.base = round(float(answer["virtualTimeTicksBase"]) * 1000)

    async def tick(self) -> None:
        try:
            await asyncio.wait_for(self._tick(), self.patience)
        except TimeoutError:
            raise Stuck(f"no frame after {self.now:.1f} s of page time") from None

    async def _tick(self) -> None:
        """Give one frame's time, wait until the page has used it up, and draw."""
        self.expired.clear()
        budget = _ms(self._moment(self.count + 1) - self._moment(self.count))
        await self.session.send(
            "Emulation.setVirtualTimePolicy",
            {
                "policy": "pauseIfNetworkFetchesPending",
                "budget": budget,
                "maxVirtualTimeTaskStarvationCount": 1000,
            },
        )
        await self.expired.wait()
        self.count += 1
        self.now = self._moment(self.count) / 1_000_000
        answer = await self.session.send(
            "HeadlessExperimental.beginFrame",
            {
                "frameTimeTicks": _ms(self.base + self._moment(self.count)),
                "interval": _ms(self.interval),
                "screenshot": {"format": "jpeg", "quality": self.quality},
            },
        )
        data = base64.b64decode(answer["screenshotData"]) if answer.get("screenshotData") else None
        if data is None and not self.frames:  # nothing has been drawn yet
            return
        self.frames.append(data or self.frames[-1])  # nothing changed: the frame before is this one too
        await self.on_frame(self.frames[-1])

    def _moment(self, count: int) -> int:
        """Microseconds of page time of a frame."""
        return count * (self.interval + LAG) + (PAST if count else 0)

    async def act(self, work: Coroutine[Any, Any, object], kind: Input = "press") -> None:
        """Input is sent while time stands, so it lands at an exact page time; a turned wheel at the next frame's."""
        task = asyncio.ensure_future(work)
        try:
            async with asyncio.timeout(self.patience):
                await asyncio.sleep(0)
                if kind == "move":  # Chromium keeps moves for the next frame, but not if there is more to be done after
                    await self.session.send("Page.bringToFront")
                wait = ARRIVES if kind == "wheel" else LATE
                while not (await asyncio.wait({task}, timeout=wait))[0]:
                    await self.tick()
                    wait = LATE
        except TimeoutError:
            raise Stuck(f"input does not arrive after {self.now:.1f} s of page time") from None
        finally:
            task.cancel()
        task.result()


class Live:
    """Real time, for what does not follow a virtual clock: video, audio, some compositors."""

    def __init__(self, page: Page, fps: int, patience: float) -> None:
        self.page = page
        self.interval = 1 / fps
        self.patience = patience
        self.now = 0.0
        self.frames: list[bytes] = []
        self.started = time.monotonic()
        self.on_frame: OnFrame = _nothing

    async def begin(self) -> None:
        self.started = time.monotonic()

    async def tick(self) -> None:
        await asyncio.sleep(max(0.0, self.now + self.interval - (time.monotonic() - self.started)))
        try:
            shot = await asyncio.wait_for(
                self.page.screenshot(type="jpeg", quality=80, animations="allow", timeout=0), self.patience
            )
        except TimeoutError:
            raise Stuck(f"no frame after {self.now:.1f} s of page time") from None
        self.now = time.monotonic() - self.started
        self.frames.append(shot)
        await self.on_frame(shot)

    async def act(self, work: Coroutine[Any, Any, object], kind: Input = "press") -> None:
        try:
            await asyncio.wait_for(work, self.patience)
        except TimeoutError:
            raise Stuck(f"input does not arrive after {self.now:.1f} s of page time") from None


async def answer(work: Coroutine[Any, Any, T], patience: float) -> T:
    """What a page is asked for while its time stands. Raises Stuck after `patience` wall-clock seconds."""
    try:
        return await asyncio.wait_for(work, patience)
    except TimeoutError:
        raise Stuck("the page does not answer") from None


async def advance(clock: Clock, seconds: float) -> None:
    """Let page time pass. Raises Stuck."""
    until = clock.now + seconds - 1e-6
    while clock.now < until:
        await clock.tick()


def digest(frame: bytes) -> str:
    """A frame's name by its content."""
    return hashlib.sha256(frame).hexdigest()


def _ms(microseconds: int) -> float:
    """As Chromium takes times. It cuts what is below a microsecond, so half of one keeps them whole."""
    return (microseconds + 0.5) / 1000


async def _nothing(frame: bytes) -> None:
    """Until somebody wants frames."""
