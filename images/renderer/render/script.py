"""The task's steps: input at exact page times, then what must be true."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Error, Page

from render.checks import holds
from render.clock import Clock
from envfarm.envs.web.recording import StepResult
from envfarm.tasks.action import Step
from render.site import ORIGIN
from render.targets import NotThere, World, one, point

ASSETS = Path("/srv/page/assets")


async def play(page: Page, world: World, clock: Clock, step: Step) -> StepResult:
    """One step. Raises Stuck when the page does not come to its next frame."""
    at = clock.now
    try:
        await _act(page, world, clock, step)
    except NotThere as error:
        return StepResult(name=step.name, ok=False, checks=(False,) * len(step.checks), why=str(error), time=at)
    except (Error, ValueError) as error:
        why = str(error).strip().splitlines()[0][:300]
        return StepResult(name=step.name, ok=False, checks=(False,) * len(step.checks), why=why, time=at)
    if step.action not in ("none", "wait") or step.seconds:
        await advance(clock, step.seconds)
    whys = [await holds(page, world, clock, check) for check in step.checks]
    wrong = next((why for why in whys if why is not None), None)
    return StepResult(name=step.name, ok=wrong is None, checks=tuple(w is None for w in whys), why=wrong, time=at)


async def advance(clock: Clock, seconds: float) -> None:
    """Let page time pass."""
    until = clock.now + seconds - 1e-6
    while clock.now < until:
        await clock.tick()


async def _act(page: Page, world: World, clock: Clock, step: Step) -> None:
    mouse = page.mouse
    if step.action in ("click", "dblclick", "hover", "drag") and step.target is not None:
        x, y = await point(page, world, step.target)
        await clock.act(mouse.move(x, y))
        await clock.tick()
        if step.action in ("click", "dblclick"):
            await clock.act(mouse.click(x, y, click_count=1 if step.action == "click" else 2))
        elif step.action == "drag":
            await _drag(page, world, clock, step)
    elif step.action == "type":
        if step.target is not None:
            await _focus(page, world, clock, step)
        await clock.act(page.keyboard.press("Control+A"))
        await clock.act(page.keyboard.type(step.text or ""))
    elif step.action == "press":
        if step.target is not None:
            await (await one(page, step.target)).focus()
        await clock.act(page.keyboard.press(step.text or "Enter"))
    elif step.action == "scroll":
        await clock.act(mouse.wheel(0, step.amount or 0))
    elif step.action == "resize" and step.size is not None:
        await clock.act(page.set_viewport_size({"width": step.size[0], "height": step.size[1]}))
    elif step.action == "upload" and step.target is not None:
        await (await one(page, step.target)).set_input_files([ASSETS / Path(name).name for name in step.files])
    elif step.action == "goto":
        await clock.act(page.goto(ORIGIN + (step.text or "/"), wait_until="commit"))


async def _focus(page: Page, world: World, clock: Clock, step: Step) -> None:
    if step.target is None:
        return
    x, y = await point(page, world, step.target)
    await clock.act(page.mouse.click(x, y))
    await (await one(page, step.target)).focus()


async def _drag(page: Page, world: World, clock: Clock, step: Step) -> None:
    if step.to is None:
        raise NotThere("a drag needs `to`")
    found = await (await one(page, step.to)).bounding_box()
    if found is None:
        raise NotThere("where to drag is not visible")
    x, y = found["x"] + found["width"] / 2, found["y"] + found["height"] / 2
    await clock.act(page.mouse.down())
    for share in (0.5, 1.0):
        await clock.act(page.mouse.move(x * share + x * (1 - share), y))
        await clock.tick()
    await clock.act(page.mouse.up())
