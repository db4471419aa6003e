"""What must be true after a step: each check is looked at once a frame until it holds or its time is over."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable

from PIL import Image, ImageChops
from playwright.async_api import Error, Locator, Page, expect

from envfarm.tasks.action import Check
from render.clock import Clock, answer
from render.targets import World, describe, locate


async def holds(page: Page, world: World, clock: Clock, check: Check) -> str | None:
    """None when it held within `check.within` seconds of page time, else what did not."""
    until = clock.now + check.within
    moved = Motion(page, clock, check) if check.moved is not None else None
    while True:
        try:
            why = await answer(_wrong(page, world, check), clock.patience)
            if why is None and moved is not None:
                why = await moved.wrong(over=clock.now >= until)
        except (Error, ValueError, AssertionError) as error:
            why = str(error).strip().splitlines()[0][:300]
        if why is None or clock.now >= until:
            return why
        await clock.tick()


async def _wrong(page: Page, world: World, check: Check) -> str | None:
    """The first thing that does not hold now."""
    target = locate(page, check.target) if check.target else page.locator("body")
    label = describe(check.target) if check.target else "the page"
    count = await target.count()
    if check.count is not None and count != check.count:
        return f"{label}: there are {count}, not {check.count}"
    first = target.nth(check.target.nth if check.target else 0)
    there = count > (check.target.nth if check.target else 0)
    if check.visible is not None and (there and await first.is_visible()) != check.visible:
        return f"{label}: is {'not ' if check.visible else ''}visible"
    if (why := await _of_page(page, world, check)) is not None:
        return why
    needs = (check.text, check.text_not, check.value, check.attribute, check.style, check.inside_viewport)
    if any(need is not None for need in needs) and not there:
        return None if check.text_not is not None and check.text is None else f"no element with {label}"
    for question in (_text, _value, _style, _inside):
        if (why := await question(page, first, check)) is not None:
            return f"{label}: {why}"
    return None


async def _of_page(page: Page, world: World, check: Check) -> str | None:
    if check.url is not None and check.url not in page.url:
        return f"the address is {page.url}, without {check.url!r}"
    if check.title is not None and check.title not in (title := str(await world.run("document.title"))):
        return f"the title is {title!r}, without {check.title!r}"
    if check.no_overflow is not None:
        wide = await world.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if (wide <= 1) != check.no_overflow:
            return f"the page is {wide} pixels wider than the viewport"
    if check.evaluate is not None and await world.run(check.evaluate, wait=False) is not True:
        return f"not true: {check.evaluate[:100]}"
    return None


async def _text(page: Page, first: Locator, check: Check) -> str | None:
    if check.text is None and check.text_not is None:
        return None
    text = " ".join((await first.inner_text()).split())
    if check.text is not None and " ".join(check.text.split()) not in text:
        return f"the text is {text[:120]!r}, without {check.text!r}"
    if check.text_not is not None and check.text_not in text:
        return f"the text has {check.text_not!r}"
    return None


async def _value(page: Page, first: Locator, check: Check) -> str | None:
    if check.value is not None and (value := await first.input_value()) != check.value:
        return f"the value is {value!r}, not {check.value!r}"
    if check.attribute is not None:
        name, wanted = check.attribute
        if (found := await first.get_attribute(name)) != wanted:
            return f"{name} is {found!r}, not {wanted!r}"
    return None


async def _style(page: Page, first: Locator, check: Check) -> str | None:
    if check.style is None:
        return None
    try:
        await expect(first).to_have_css(check.style[0], check.style[1], timeout=1)
    except AssertionError as error:
        found = next((line for line in str(error).splitlines() if line.startswith("Actual value: ")), "")
        return f"{check.style[0]} is {found.removeprefix('Actual value: ').strip()!r}, not {check.style[1]!r}"
    return None


async def _inside(page: Page, first: Locator, check: Check) -> str | None:
    if check.inside_viewport is None:
        return None
    box, size = await first.bounding_box(), page.viewport_size
    inside = box is not None and size is not None and box["x"] < size["width"] and box["y"] < size["height"]
    inside = inside and box is not None and box["x"] + box["width"] > 0 and box["y"] + box["height"] > 0
    return None if inside == check.inside_viewport else f"is {'not ' if check.inside_viewport else ''}in the viewport"


class Motion:
    """Whether a target, or the page, changes while time goes by."""

    def __init__(self, page: Page, clock: Clock, check: Check) -> None:
        self.page, self.clock, self.check = page, clock, check
        self.first: bytes | None = None
        self.ever = False

    async def wrong(self, *, over: bool) -> str | None:
        """None once it is known and as it should be; that nothing moves is known only when time is over."""
        now = await self._look()
        self.ever = self.ever or (self.first is not None and _differ(self.first, now))
        self.first = self.first or now
        if self.check.moved:
            return None if self.ever else "nothing moves"
        if self.ever:
            return "it moves"
        return None if over else "not known yet"

    async def _look(self) -> bytes:
        """The pixels of the target's place in the last frame, with the place itself."""
        frame = Image.open(io.BytesIO(self.clock.frames[-1]))
        if self.check.target is None:
            return frame.convert("L").resize((320, 180)).tobytes()
        box = await locate(self.page, self.check.target).nth(self.check.target.nth).bounding_box()
        if box is None:
            raise ValueError(f"no element with {describe(self.check.target)}")
        x, y = max(0, int(box["x"])), max(0, int(box["y"]))
        right, bottom = min(frame.width, int(x + box["width"])), min(frame.height, int(y + box["height"]))
        place = f"{box['x']:.1f} {box['y']:.1f} {box['width']:.1f} {box['height']:.1f}".encode().ljust(64)
        if right <= x or bottom <= y:
            return place
        return place + frame.crop((x, y, right, bottom)).convert("L").resize((96, 96)).tobytes()


def _differ(one: bytes, other: bytes) -> bool:
    if len(one) != len(other):
        return True
    if len(one) == 64 + 96 * 96:
        if one[:64] != other[:64]:
            return True
        one, other = one[64:], other[64:]
    if len(one) not in (96 * 96, 320 * 180):
        return one != other
    size = (96, 96) if len(one) == 96 * 96 else (320, 180)
    change = ImageChops.difference(Image.frombytes("L", size, one), Image.frombytes("L", size, other))
    return change.getextrema()[1] > 12  # type: ignore[operator]


Question = Callable[[Page, Locator, Check], Awaitable[str | None]]
