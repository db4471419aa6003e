"""Finding an element as a person would name it, through Playwright's own world that the page cannot touch."""

from __future__ import annotations

from typing import Any

from playwright.async_api import CDPSession, Locator, Page

from envfarm.tasks.action import Target


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
    """Where to click: its middle, brought into view. Raises NotThere where it is hidden or something covers it."""
    found = await one(page, target)
    box = await found.bounding_box()
    if box is None or not await found.is_visible():
        raise NotThere(f"{describe(target)} is not visible")
    size = page.viewport_size or {"width": 1280, "height": 720}
    if box["y"] < 0 or box["y"] + box["height"] > size["height"]:
        by = box["y"] + box["height"] / 2 - size["height"] / 2
        await world.run(f"window.scrollBy({{top: {by}, behavior: 'instant'}})")
        box = await found.bounding_box() or box
        if box["y"] < 0 or box["y"] + box["height"] > size["height"]:
            await found.evaluate("e => e.scrollIntoView({block: 'center', behavior: 'instant'})")
            box = await found.bounding_box() or box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


class World:
    """JavaScript in a world of its own: it sees the page's elements and none of its functions."""

    def __init__(self, session: CDPSession) -> None:
        self.session = session

    async def run(self, expression: str, *, wait: bool = False) -> Any:
        """The value of an expression. Raises ValueError with what it threw."""
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
