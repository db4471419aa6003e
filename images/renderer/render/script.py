"""The task's steps: input at exact page times, then what must be true."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Error, Page

from envfarm.envs.web.recording import StepResult
from envfarm.tasks.action import Step, Target
from render.checks import holds
from render.clock import Clock, advance
from render.site import ORIGIN
from render.targets import NotThere, World, describe, one, point

ASSETS = Path("/srv/page/assets")
KEYED = "select, " + ", ".join(
    f"input[type={kind}]" for kind in ("date", "time", "datetime-local", "month", "week", "range")
)
DRAG = 5  # moves from the start of a drag to its end, a frame each


async def play(page: Page, world: World, clock: Clock, step: Step) -> StepResult:
    """One step. Raises Stuck when the page does not come to its next frame."""
    at = round(clock.now, 3)
    try:
        await _act(page, world, clock, step)
    except NotThere as error:
        return StepResult(name=step.name, ok=False, checks=(False,) * len(step.checks), why=str(error), time=at)
    except (Error, ValueError) as error:
        why = str(error).strip().splitlines()[0][:300]
        return StepResult(name=step.name, ok=False, checks=(False,) * len(step.checks), why=why, time=at)
    await advance(clock, step.seconds)
    whys = [await holds(page, world, clock, check) for check in step.checks]
    wrong = next((why for why in whys if why is not None), None)
    return StepResult(name=step.name, ok=wrong is None, checks=tuple(w is None for w in whys), why=wrong, time=at)


async def _act(page: Page, world: World, clock: Clock, step: Step) -> None:
    if step.target is not None and step.action in ("click", "dblclick", "hover", "drag"):
        await _point_and_press(page, world, clock, step, step.target)
    elif step.action == "type":
        if step.target is None or await _focus(page, world, clock, step.target):
            await clock.act(page.keyboard.press("Control+A"))
        await clock.act(page.keyboard.type(step.text or ""))
    elif step.action == "press":
        if step.target is not None:
            await (await one(page, step.target)).focus()
        await clock.act(page.keyboard.press(step.text or "Enter"))
    elif step.action == "scroll":
        await clock.act(page.mouse.wheel(0, step.amount or 0), "wheel")
    elif step.action == "resize" and step.size is not None:
        await clock.act(page.set_viewport_size({"width": step.size[0], "height": step.size[1]}))
    elif step.action == "upload" and step.target is not None:
        await (await one(page, step.target)).set_input_files([_asset(name) for name in step.files])
    elif step.action == "goto":
        await clock.act(page.goto(ORIGIN + (step.text or "/"), wait_until="commit", timeout=0))


async def _point_and_press(page: Page, world: World, clock: Clock, step: Step, target: Target) -> None:
    mouse = page.mouse
    x, y = await point(page, world, target)
    await clock.act(mouse.move(x, y), "move")
    if step.action in ("click", "dblclick"):
        await clock.act(mouse.click(x, y, click_count=1 if step.action == "click" else 2))
    if step.action != "drag" or step.to is None:
        return
    found = await (await one(page, step.to)).bounding_box()
    if found is None:
        raise NotThere(f"where to drag is not visible: {describe(step.to)}")
    to_x, to_y = found["x"] + found["width"] / 2, found["y"] + found["height"] / 2
    await clock.act(mouse.down())
    for number in range(1, DRAG + 1):
        share = number / DRAG
        await clock.act(mouse.move(x + (to_x - x) * share, y + (to_y - y) * share), "move")
        await clock.tick()
    await clock.act(mouse.up())


async def _focus(page: Page, world: World, clock: Clock, target: Target) -> bool:
    """Whether it is a field of text, whose text is to be replaced: that is clicked; others take keys as they are."""
    found = await one(page, target)
    text = not await found.and_(page.locator(KEYED)).count()
    if text:
        await clock.act(page.mouse.click(*await point(page, world, target)))
    await found.focus()
    return text


def _asset(name: str) -> Path:
    """A file of the task's. Raises NotThere."""
    place = (ASSETS / name).resolve()
    if not place.is_relative_to(ASSETS) or not place.is_file():
        raise NotThere(f"no file {name} among the task's assets")
    return place
