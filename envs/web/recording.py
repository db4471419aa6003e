"""What the renderer is asked for and what it gives: `RenderJob` in, `Recording` out, JSON files in its sandbox.

The renderer is a program in an image of its own (images/renderer), started in a fresh sandbox of the same back end that
the agent's ran on. These models are the seam between the two: of envfarm its image has this file and tasks/action.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from envfarm.tasks.action import Mode, Serve, Step


class _Seam(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RenderJob(_Seam):
    """Everything that one recording depends on."""

    serve: Serve = Serve()
    steps: tuple[Step, ...] = ()
    mode: Mode | Literal["auto"] = "auto"  # exact, and live where the probe frame or a <video> asks for it
    explore: int = 0  # further actions of the generic explorer
    seed: int = 0
    fps: int = 10  # of the recording
    refresh: int = 60  # frames a second that the page makes in exact mode: a loop that counts them runs as on a screen
    seconds: float = 20.0  # of page time at most
    settle: float = 1.0  # of page time before the first step
    viewport: tuple[int, int] = (1280, 720)
    mobile: tuple[int, int] = (375, 812)
    promised: tuple[str, ...] = ()  # packages of the store that the task promised: missing ones are the farm's fault
    patience: float = 8.0  # wall-clock seconds that the page may take for one frame, or to answer
    deadline: float = 120.0  # wall-clock seconds, then the browser is killed


class StepResult(_Seam):
    """What became of one step."""

    name: str
    ok: bool
    checks: tuple[bool, ...] = ()
    why: str | None = None  # the first thing that did not hold
    time: float = 0.0  # page time, seconds


class Request(_Seam):
    """One request of the page."""

    url: str
    by: Literal["site", "store", "blocked", "failed"]
    status: int | None = None


class Trace(_Seam):
    """What happened; kept whole as trace.json."""

    console: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()  # uncaught
    errors_before_paint: int = 0
    dialogs: tuple[str, ...] = ()
    navigations: tuple[str, ...] = ()
    popups: int = 0
    downloads: int = 0
    requests: tuple[Request, ...] = ()
    build_log: str = ""
    server_log: str = ""
    accessibility_start: str = ""
    accessibility_end: str = ""
    text: str = ""  # all text of the DOM, hidden text too, for the scan for words to the judge
    seconds: dict[str, float] = {}  # wall clock: build, start, record, encode


class Signals(_Seam):
    """Numbers about the layout; none of them is a reward by itself."""

    blank: float = 0.0  # share of the settled frame that is one colour, 0 to 1
    overflow: int = 0  # pixels that the page is wider than the viewport
    overflow_mobile: int = 0
    overlapping: int = 0  # pairs of controls that cover each other
    clipped: int = 0  # elements whose text is cut
    contrast: int = 0  # axe-core: texts below 4.5
    unlabelled: int = 0  # axe-core: images without alt, controls without a label
    shift: float = 0.0  # cumulative layout shift
    nodes: int = 0


class Keyframe(_Seam):
    """One still that a judge is shown."""

    file: str
    frame: int
    time: float  # page time, seconds
    why: str  # first paint, settled, after: NAME, mobile, end


class Recording(_Seam):
    """The renderer's result.json. Files are named relative to it."""

    outcome: Literal["ok", "build_failed", "not_served", "bad_document", "timed_out", "crashed", "infra"]
    why: str | None = None
    mode: Mode = "exact"
    mode_why: str | None = None  # why it is live
    status: int | None = None  # of the main document
    steps: tuple[StepResult, ...] = ()
    signals: Signals = Signals()
    trace: Trace = Trace()
    keyframes: tuple[Keyframe, ...] = ()
    digests: Annotated[tuple[str, ...], Field()] = ()  # sha256 of every frame
    video: str | None = None
    mobile: str | None = None
    contact: str | None = None  # one PNG of all keyframes
    missing: tuple[str, ...] = ()  # promised addresses that the store does not have
