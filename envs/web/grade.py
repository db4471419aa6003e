"""What a recording is worth: whether the page runs (E), what the script found (F), what the judge saw (V)."""

from __future__ import annotations

from dataclasses import dataclass

from envfarm.envs.judge.verdict import Verdict
from envfarm.envs.web.recording import Recording
from envfarm.tasks.page import Page

BLANK = 0.999
"""Share of the settled frame that is one colour, from which on a page shows nothing."""

OUTCOMES = {
    "build_failed": "the build failed",
    "not_served": "nothing was served",
    "bad_document": "the main document did not come",
    "timed_out": "the page did not let itself be recorded in time",
    "crashed": "the page took its browser down",
}


@dataclass(frozen=True, slots=True)
class Grade:
    """The reward of a recording, and how it came about."""

    value: float
    parts: dict[str, float]
    reason: str | None


def broken(recording: Recording) -> str | None:
    """Why a page does not run, in one sentence; None for one that does."""
    if recording.outcome != "ok":
        said = OUTCOMES.get(recording.outcome, recording.outcome)
        return f"{said}: {recording.why}" if recording.why else said
    if recording.status != 200:
        return f"the main document came with status {recording.status}, not 200"
    if recording.trace.errors_before_paint:
        first = recording.trace.errors[0] if recording.trace.errors else "an uncaught error"
        return f"an error before the page showed anything: {first[:200]}"
    if recording.signals.blank >= BLANK:
        return "the page is blank"
    return None


def functional(page: Page, recording: Recording) -> tuple[float, str | None]:
    """The share of the script's assertions that hold, 0 to 1, and the first that does not.

    A step that was never reached, or could not be done, holds nothing.
    """
    results = {result.name: result for result in recording.steps}
    held, first = 0, None
    for step in page.steps:
        result = results.get(step.name)
        checks = result.checks[: len(step.checks)] if result is not None else ()
        held += sum(checks)
        if first is None and (result is None or not result.ok or sum(checks) < len(step.checks)):
            first = f"{step.name}: {result.why if result is not None and result.why else 'it was not reached'}"
    return held / page.assertions, first


def grade(page: Page, recording: Recording, verdict: Verdict | None) -> Grade:
    """E · (functional · F + judge · V) with the task's weights; E · F where no judge looked at it."""
    why = broken(recording)
    share, failed = functional(page, recording)
    parts = {"executable": 0.0 if why else 1.0, "functional": share}
    worth = share
    if verdict is not None:
        parts |= {"judge": verdict.score} | {f"judge_{name}": score for name, score in verdict.groups.items()}
        worth = page.weights.functional * share + page.weights.judge * verdict.score
    if verdict is not None and verdict.injected is not None:
        failed = verdict.injected.of("the page")
    return Grade(0.0 if why else worth, parts, why or failed)
