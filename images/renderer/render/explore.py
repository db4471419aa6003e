"""The generic explorer: what a curious visitor does, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

from playwright.async_api import Error, Page

from envfarm.envs.web.recording import RenderJob
from render.clock import Clock, advance
from render.targets import World

CONTROLS = """[...document.querySelectorAll('button,a[href],input,select,textarea,[role=button],[role=tab],summary')]
  .map(e => [e.getBoundingClientRect(), e.tagName, e.innerText || e.ariaLabel || e.placeholder || e.tagName])
  .filter(([r]) => r.width > 2 && r.height > 2 && r.top >= 0 && r.left >= 0)
  .filter(([r]) => r.bottom <= innerHeight && r.right <= innerWidth).slice(0, 100)
  .map(([r, tag, name]) => [r.left + r.width / 2, r.top + r.height / 2, tag, name.slice(0, 30)])"""


async def explore(page: Page, world: World, clock: Clock, job: RenderJob) -> AsyncIterator[str]:
    """Up to `job.explore` actions, each told after it was done and its frames were taken."""
    chance = random.Random(job.seed)
    for number in range(job.explore):
        if clock.now >= job.seconds:
            return
        try:
            what = await _one(page, world, clock, chance, number)
        except (Error, ValueError):
            return
        await advance(clock, 0.3)
        yield what


async def _one(page: Page, world: World, clock: Clock, chance: random.Random, number: int) -> str:
    found = await world.run(CONTROLS)
    if number % 3 == 2 or not found:
        down = chance.choice([400, 800, -400])
        await clock.act(page.mouse.wheel(0, down), "wheel")
        return f"scroll {down}"
    x, y, tag, name = chance.choice(found)
    await clock.act(page.mouse.move(x, y), "move")
    await clock.act(page.mouse.click(x, y))
    if tag in ("INPUT", "TEXTAREA"):
        await clock.act(page.keyboard.type("Ada 42"))
        return f"type into {name}"
    return f"click {name}"
