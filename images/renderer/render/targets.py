"""Finding an element as a person would name it, through Playwright's own world that the page cannot touch."""

from __future__ import annotations

from typing import Any

from playwright.async_api import CDPSession, Error, FloatRect, Locator, Page

from envfarm.tasks.action import Target
from render.clock import Stuck, answer

ANSWER = 2.0  # wall-clock seconds for the shortest of answers
SHOW = """(x, y, w, h) => {
  const near = (a, b) => Math.abs(a - b) < 0.5;
  const all = root => [...root.querySelectorAll('*')].flatMap(e => e.shadowRoot ? [e, ...all(e.shadowRoot)] : [e]);
  const here = e => { const r = e.getBoundingClientRect();
    return near(r.x, x) && near(r.y, y) && near(r.width, w) && near(r.height, h); };
  const found = all(document).find(here);
  if (!found) return;
  const clips = [{left: 0, top: 0, right: innerWidth, bottom: innerHeight}];
  for (let e = found.parentElement; e; e = e.parentElement)
    if (e !== document.body && e !== document.documentElement && getComputedStyle(e).overflow !== 'visible')
      clips.push(e.getBoundingClientRect());
  if (clips.some(c => x < c.left || y < c.top || x + w > c.right || y + h > c.bottom))
    found.scrollIntoView({block: 'center', inline: 'nearest', behavior: 'instant'});
}"""
"""Scrolls all that must be scrolled for a box to be seen; any element with that box will do."""


class NotThere(Exception):
    """The element that an action needs is not there, or cannot be reached; the message says which."""


def locate(page: Page, target: Target) -> Locator:
    """All that match; `nth` is left to the caller of `one`."""
    if target.role is not None:
        return page.get_by_role(target.role, name=target.name, exact=target.exact)  # type: ignore[arg-type]
    if target.label is not None:
        return page.get_by_label(target.label, exact=target.exact)
    if target.placeholder is not None:
        return page.get_by_placeholder(target.placeholder, exact=target.exact)
    if target.css is not None:
        found = page.locator(target.css)
        return found.filter(has_text=target.text) if target.text is not None else found
    return page.get_by_text(target.text or target.name or "", exact=target.exact)


def describe(target: Target) -> str:
    """In words, for reports."""
    given = target.model_dump(exclude_none=True, exclude={"exact"})
    return ", ".join(f"{key} {value!r}" for key, value in given.items() if key != "nth" or value)


async def one(page: Page, target: Target) -> Locator:
    """The one that is meant. Raises NotThere."""
    found = locate(page, target)
    if await found.count() <= target.nth:
        raise NotThere(f"no element with {describe(target)}")
    return found.nth(target.nth)


async def point(page: Page, world: World, target: Target) -> tuple[float, float]:
    """Its middle, brought into view. Raises NotThere where it is hidden or cannot be brought there.

    What lies over it gets the click in its stead, as it would from a person.
    """
    found = await one(page, target)
    box = await found.bounding_box() if await found.is_visible() else None
    if box is None:
        raise NotThere(f"{describe(target)} is not visible")
    await world.run(f"({SHOW})({box['x']}, {box['y']}, {box['width']}, {box['height']})")
    box = await found.bounding_box()
    if box is None or not _inside(page, box):
        raise NotThere(f"{describe(target)} does not come into view")
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def _inside(page: Page, box: FloatRect) -> bool:
    """Whether its middle is in the viewport."""
    size = page.viewport_size or {"width": 1280, "height": 720}
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return 0 <= x < size["width"] and 0 <= y < size["height"]


class World:
    """JavaScript in a world of its own: it sees the page's elements and none of its functions."""

    def __init__(self, session: CDPSession, patience: float) -> None:
        self.session = session
        self.patience = patience

    async def answers(self) -> bool:
        """Whether the page's scripts have come to an end for now."""
        try:
            return bool(await answer(self._run("true", wait=False), ANSWER))
        except (Stuck, Error, ValueError):
            return False

    async def run(self, expression: str, *, wait: bool = False) -> Any:
        """The value of an expression. Raises ValueError with what it threw, Stuck."""
        return await answer(self._run(expression, wait=wait), self.patience)

    async def _run(self, expression: str, *, wait: bool) -> Any:
        tree = await self.session.send("Page.getFrameTree")
        made = await self.session.send(
            "Page.createIsolatedWorld", {"frameId": tree["frameTree"]["frame"]["id"], "worldName": "envfarm"}
        )
        answer = await self.session.send(
            "Runtime.evaluate",
            {
                "expression": expression,
                "contextId": made["executionContextId"],
                "returnByValue": True,
                "awaitPromise": wait,
                "timeout": 5000,
            },
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise ValueError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")
