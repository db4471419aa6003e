"""What a recording has so far, so that a page that stops answering leaves what it showed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from envfarm.envs.web.recording import Recording, RenderJob, Signals, StepResult, Trace
from envfarm.tasks.action import Mode
from render import store
from render.clock import Clock, digest
from render.stills import Stills, blank
from render.video import Video
from render.watch import Watch

Outcome = Literal["ok", "build_failed", "not_served", "bad_document", "timed_out", "crashed", "infra"]
SHOWN = 0.999  # share of one colour, below which a frame shows something
LONGEST = 50_000  # characters of an accessibility snapshot


@dataclass
class Take:
    """One try at a page in one mode."""

    job: RenderJob
    folder: Path
    watch: Watch
    mode: Mode
    mode_why: str | None = None
    outcome: Outcome = "ok"
    why: str | None = None
    status: int | None = None
    steps: list[StepResult] = field(default_factory=list)
    signals: Signals = field(default_factory=Signals)
    seconds: dict[str, float] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)
    accessibility: list[str] = field(default_factory=list)
    text: str = ""
    video: str | None = None
    mobile: str | None = None

    def __post_init__(self) -> None:
        self.stills = Stills(self.folder)
        self.film = Video(self.folder / "video.webm", self.job.fps, self.job.viewport)

    @property
    def live(self) -> Path:
        """Where Playwright's own recording is written."""
        return self.folder / "live"

    async def develop(self) -> None:
        """Make the video whole."""
        self.video = await self.film.finish()
        for made in self.live.glob("*.webm"):
            made.replace(self.folder / "video.webm")
            self.video = "video.webm"

    def end(self, outcome: Outcome, why: str) -> None:
        """Keep the first thing that went wrong."""
        if self.outcome == "ok":
            self.outcome, self.why = outcome, why

    async def frame(self, frame: bytes) -> None:
        """Take the next frame: its digest, and into the video in exact mode."""
        self.digests.append(digest(frame))
        self.watch.painted = self.watch.painted or blank(frame) < SHOWN
        if self.mode == "exact":  # in live mode Playwright makes the video
            await self.film.add(frame)

    def still(self, clock: Clock, why: str) -> None:
        """Offer the last frame as a keyframe."""
        if clock.frames:
            self.stills.add(clock.frames[-1], frame=len(clock.frames) - 1, time=clock.now, why=why)

    def recording(self) -> Recording:
        """As it stands."""
        skipped = [
            StepResult(name=step.name, ok=False, checks=(False,) * len(step.checks), why="not reached")
            for step in self.job.steps[len(self.steps) :]
        ]
        missing = tuple(name for name in self.job.promised if store.package(*store.split(name)) is None)
        return Recording(
            outcome="infra" if missing else self.outcome,
            why=f"the store lacks {', '.join(missing)}" if missing else self.why,
            mode=self.mode,
            mode_why=self.mode_why,
            status=self.status,
            steps=(*self.steps, *skipped),
            signals=self.signals,
            trace=self._trace(),
            keyframes=tuple(self.stills.kept),
            digests=tuple(self.digests),
            video=self.video,
            mobile=self.mobile,
            contact=self.stills.contact(),
            missing=missing,
        )

    def _trace(self) -> Trace:
        start, end = (self.accessibility[0], self.accessibility[-1]) if self.accessibility else ("", "")
        more = {"accessibility_start": start[:LONGEST], "accessibility_end": end[:LONGEST]}
        return self.watch.trace().model_copy(update={**more, "text": self.text, "seconds": self.seconds})
