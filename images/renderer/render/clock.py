"""Page time: `Exact` moves it frame by frame with all clocks of the page on it, `Live` lets it pass."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
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
AFTER = 100  # microseconds, by which a picture comes after the refresh that turned out to need one
LATE = 2.0  # wall-clock seconds after which other input is given a frame too

SLOW = 4  # times its patience that a page is waited for on a busy machine

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

    def __init__(
        self, page: Page, session: CDPSession, fps: int, refresh: int, patience: float, quality: int = 80
    ) -> None:
        self.page, self.session = page, session
        self.interval = 1_000_000 // fps  # microseconds
        self.refreshes = max(1, refresh // fps)  # for one frame that is recorded
        self.patience = patience  # wall-clock seconds for one frame
        self.quality = quality
        self.now = 0.0
        self.frames: list[bytes] = []
        self.base = 0  # microseconds
        self.count = 0
        self.displayed = 1  # up to this frame nothing is hidden: a new size of the viewport must be drawn at once
        self.moving = True  # the last picture was another than the one before
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
        await answer(self._tick(), self.patience, f"no frame after {self.now:.1f} s of page time")

    async def _tick(self) -> None:
        """Let the page run to the next frame's time, refresh by refresh, and take a picture where it drew anything."""
        drawn, end = self.moving, self._moment(self.refreshes)
        for part in range(1, self.refreshes + 1):
            await self._grant(self._moment(part) - self._moment(part - 1))
            last = part == self.refreshes
            hidden = self.count > self.displayed and part < self.refreshes - 1
            answer = await self._refresh(self._moment(part), hidden=hidden, picture=last and drawn)
            drawn = drawn or bool(answer.get("hasDamage"))
        if drawn and "screenshotData" not in answer:  # a picture makes a refresh dear, and most find nothing new
            answer = await self._refresh(end + AFTER, picture=True)
        self.count += 1
        self.now = self._moment(0) / 1_000_000
        data = base64.b64decode(answer.get("screenshotData", ""))
        self.moving = not self.frames or bool(data and data != self.frames[-1])
        if data and not self.moving:  # what the picture itself left to be drawn is no news
            await self._refresh(end + 2 * AFTER)
        if data or self.frames:  # else nothing has been drawn yet
            self.frames.append(data or self.frames[-1])
            await self.on_frame(self.frames[-1])

    async def _grant(self, microseconds: int) -> None:
        """Let page time pass, and wait until the page has used it up."""
        self.expired.clear()
        await self.session.send(
            "Emulation.setVirtualTimePolicy",
            {
                "policy": "pauseIfNetworkFetchesPending",
                "budget": _ms(microseconds),
                "maxVirtualTimeTaskStarvationCount": 1000,
            },
        )
        await self.expired.wait()

    async def _refresh(self, moment: int, *, hidden: bool = False, picture: bool = False) -> dict[str, Any]:
        """Have the page make its next frame: animations go on and requestAnimationFrame is answered."""
        asked: dict[str, Any] = {
            "frameTimeTicks": _ms(self.base + moment),
            "interval": _ms(self.interval // self.refreshes),
            "noDisplayUpdates": hidden,
        }
        if picture:
            asked["screenshot"] = {"format": "jpeg", "quality": self.quality}
        answer: dict[str, Any] = await self.session.send("HeadlessExperimental.beginFrame", asked)
        return answer

    def _moment(self, part: int) -> int:
        """Microseconds of page time of a refresh before the next frame, the last of which is that frame."""
        if self.count == 0 and part == 0:
            return 0
        step = self.interval + LAG
        return self.count * step + step * part // self.refreshes // 1000 * 1000 + PAST

    async def act(self, work: Coroutine[Any, Any, object], kind: Input = "press") -> None:
        """Input is sent while time stands, so it lands at an exact page time; a turned wheel at the next frame's."""
        await answer(self._act(work, kind), self.patience, f"input does not arrive after {self.now:.1f} s of page time")

    async def _act(self, work: Coroutine[Any, Any, object], kind: Input) -> None:
        self.displayed = self.count + 1
        task = asyncio.ensure_future(work)
        try:
            await asyncio.sleep(0)
            if kind == "move":  # Chromium keeps moves for the next frame, but not if there is more to be done after
                await self.session.send("Page.bringToFront")
            wait = ARRIVES if kind == "wheel" else LATE
            while not (await asyncio.wait({task}, timeout=wait))[0]:
                await self._tick()
                wait = LATE
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
        taken = self.page.screenshot(type="jpeg", quality=80, animations="allow", timeout=0)
        shot = await answer(taken, self.patience, f"no frame after {self.now:.1f} s of page time")
        self.now = time.monotonic() - self.started
        self.frames.append(shot)
        await self.on_frame(shot)

    async def act(self, work: Coroutine[Any, Any, object], kind: Input = "press") -> None:
        await answer(work, self.patience, f"input does not arrive after {self.now:.1f} s of page time")


async def answer(work: Coroutine[Any, Any, T], patience: float, why: str = "the page does not answer") -> T:
    """What a page is asked for. Raises Stuck.

    `patience` is wall-clock seconds in which the sandbox could work: where others keep the machine busy, it is waited
    for longer, until most of that time has been worked, and no more than SLOW times as long.
    """
    task = asyncio.ensure_future(work)
    began, used = time.monotonic(), 0.0
    try:
        while not (await asyncio.wait({task}, timeout=patience / 4))[0]:
            waited = time.monotonic() - began
            used = used or _worked()  # not looked at for what comes soon
            if waited > patience * SLOW or (waited > patience and _worked() - used > patience / 2):
                raise Stuck(why)
        return task.result()
    finally:
        task.cancel()


def _worked() -> float:
    """Seconds of CPU that the sandbox's living processes have used."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            ticks += sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


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
