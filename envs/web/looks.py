"""How a page looks: its keyframes and its words, shown to the farm's judge."""

from __future__ import annotations

from envfarm.envs.judge.judge import Judge
from envfarm.envs.judge.prompt import Frame
from envfarm.envs.judge.verdict import Verdict
from envfarm.envs.web.renderer import Recorded
from envfarm.tasks.page import Page


async def look(judge: Judge, page: Page, request: str, recorded: Recorded) -> Verdict:
    """The judge's verdict on a page that runs; all text of its DOM, hidden or not, is searched for words to the judge.

    Raises FarmFault.
    """
    return await judge.judge(page, request=request, frames=frames(recorded), text=recorded.recording.trace.text)


def frames(recorded: Recorded) -> list[Frame]:
    """The keyframes in the order of their time, numbered from 1, and the page on a phone as the last one."""
    recording = recorded.recording
    shown = [(still.time, still.why, still.file) for still in recording.keyframes]
    if recording.mobile is not None:
        shown.append((recording.keyframes[-1].time if shown else 0.0, "on a phone, 375 wide", recording.mobile))
    return [Frame(number, time, why, recorded.files[file]) for number, (time, why, file) in enumerate(shown, 1)]
