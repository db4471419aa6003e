"""Steps as rows of the store, and back."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Executable, String, and_, bindparam, cast, literal_column, select, update

from envfarm.orchestrator.farm.episodes import Episode, Step, happened
from envfarm.orchestrator.schemas.episodes import Call, CallResult, StepInfo, StepView
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.changes import INSERT_ARTIFACT, INSERT_STEP, Change
from envfarm.orchestrator.store.codec import dump, load
from envfarm.toolbox.tools.base import ToolResult

_THIS = and_(tables.steps.c.episode == bindparam("the_episode"), tables.steps.c.step_id == bindparam("the_step"))
ONE_STEP = select(tables.steps).where(_THIS)
_DONE_SO_FAR = update(tables.steps).where(_THIS).values(results=bindparam("new_results"), state=bindparam("new_state"))
_names = ("results", "state", "terminated", "truncated", "reason", "finished_at")
_DONE = update(tables.steps).where(_THIS).values(**{name: bindparam(f"new_{name}") for name in _names})

_name = literal_column("'steps/'").concat(cast(tables.steps.c.turn, String)).concat(literal_column("'/%'"))
FILE_OF_STEP = and_(tables.artifacts.c.episode == tables.steps.c.episode, tables.artifacts.c.name.like(_name))
"""Whether a row of `artifacts` is of a row of `steps`: by its name, as `_files` makes it."""


def started(episode: Episode, step: Step) -> Change:
    """The change that begins a step."""
    row = {
        "episode": episode.id,
        "step_id": step.step_id,
        "turn": step.turn,
        "digest": step.digest,
        "calls": dump([{"id": call.id, "name": call.name, "arguments": call.arguments} for call in step.calls]),
        "timeout_s": step.timeout_s,
        "results": None,
        "state": None,
        "terminated": False,
        "truncated": False,
        "reason": None,
        "policy_version": step.policy_version,
        "started_at": step.started_at,
        "finished_at": None,
    }
    return Change(
        rows=[(INSERT_STEP, row)], events=[happened(episode, "step.started", step_id=step.step_id, turn=step.turn)]
    )


def so_far(episode: Episode, step: Step) -> Change:
    """The change that keeps the results of the calls that are done."""
    key = {"the_episode": episode.id, "the_step": step.step_id}
    row = {**key, "new_results": dump(step.results), "new_state": _state(step)}
    return Change(rows=[(_DONE_SO_FAR, row), *_files(episode, step)])


def finished(episode: Episode, step: Step) -> Change:
    """The change that ends a step."""
    row = {
        "the_episode": episode.id,
        "the_step": step.step_id,
        "new_results": dump(step.results),
        "new_state": _state(step),
        "new_terminated": step.terminated,
        "new_truncated": step.truncated,
        "new_reason": step.reason,
        "new_finished_at": time.time(),
    }
    change = Change(rows=[(_DONE, row)])
    _say_finished(change, episode, step)
    return change


def complete(begun: Change, episode: Episode, step: Step) -> None:
    """Make of the change that begins a step one that has its end too."""
    begun.rows[0][1].update(results=dump(step.results), state=_state(step), finished_at=time.time())
    _say_finished(begun, episode, step)


def _say_finished(change: Change, episode: Episode, step: Step) -> None:
    change.events.append(happened(episode, "step.finished", step_id=step.step_id, turn=step.turn))
    change.rows += _files(episode, step)


def _files(episode: Episode, step: Step) -> list[tuple[Executable, dict[str, Any]]]:
    """The rows that say which files a step's results refer to."""
    return [
        (INSERT_ARTIFACT, {"episode": episode.id, "name": f"steps/{step.turn}/{index}/{name}", "digest": digest})
        for index, result in enumerate(step.results)
        for name, digest in result.get("artifacts", {}).items()
    ]


def result_of(call: Call, result: ToolResult) -> dict[str, Any]:
    """A CallResult as the store keeps it."""
    return {
        "id": call.id,
        "name": call.name,
        "content": result.content,
        "is_error": result.is_error,
        "exit_code": result.exit_code,
        "truncated": result.truncated,
        "timed_out": result.timed_out,
        "seconds": round(result.seconds, 6),
        "artifacts": result.artifacts,
    }


def view_of_row(row: Any) -> StepView:
    """A finished step as its row has it."""
    return StepView(
        step_id=row.step_id,
        turn=row.turn,
        results=[CallResult(**result) for result in load(row.results)],
        terminated=row.terminated,
        truncated=row.truncated,
        info=StepInfo(reason=row.reason),
    )


def step_of_row(row: Any) -> Step:
    """A step in flight as its row has it."""
    calls = [Call.model_construct(**call) for call in load(row.calls)]
    step = Step(row.step_id, row.turn, row.digest, calls, timeout_s=row.timeout_s)
    step.policy_version = row.policy_version
    step.started_at = row.started_at
    step.recovered = True
    step.results = load(row.results) if row.results else []
    step.state = None if row.state is None else load(row.state)
    return step


def _state(step: Step) -> str | None:
    return None if step.state is None else dump(step.state)
