"""What the farm answers: views of live episodes, and of those that only the store knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envfarm.orchestrator.farm.episodes import Episode, Play, dataset_of
from envfarm.orchestrator.schemas.episodes import (
    Call,
    CallResult,
    EpisodeLimits,
    EpisodeView,
    MessageView,
    RewardView,
    StepInfo,
    StepRecord,
)
from envfarm.orchestrator.schemas.tasks import TaskView
from envfarm.orchestrator.store.codec import load
from envfarm.tasks.spec import Task


def live_view(episode: Episode, *, whole: bool = True) -> EpisodeView:
    """A live episode; `whole` with its messages and tools."""
    view = EpisodeView.model_construct(
        id=episode.id,
        run=episode.run,
        task=episode.play.task.id,
        kind=episode.play.task.kind,
        state=episode.state,
        turn=episode.turn,
        group_id=episode.group_id,
        rollout_index=episode.rollout_index,
        policy_version=episode.policy_version,
        fork_of=episode.fork_of,
        limits=episode.limits,
        created_at=episode.created_at,
        started_at=episode.started_at,
        ended_at=episode.ended_at,
        lease_s=None if episode.ended else episode.lease_s,
        lease_expires_at=None if episode.ended else episode.lease_until,
        suspended_until=None if episode.ended else episode.suspended_until,
        terminated=episode.terminated,
        truncated=episode.truncated,
        reason=episode.reason,
        reward=episode.reward,
    )
    return _with_play(view, episode.play) if whole else view


def row_view(row: Any, turn: int, reward: RewardView | None, play: Play | None) -> EpisodeView:
    """An episode as its row has it."""
    names = ("id", "run", "task", "kind", "state", "group_id", "rollout_index", "policy_version", "fork_of")
    more = ("created_at", "started_at", "ended_at", "terminated", "truncated", "reason")
    view = EpisodeView.model_construct(
        **{name: getattr(row, name) for name in (*names, *more)},
        suspended_until=None if row.ended_at is not None else row.suspended_until,
        turn=turn,
        limits=EpisodeLimits(**load(row.limits)),
        reward=reward,
    )
    return view if play is None else _with_play(view, play)


def reward_of_row(row: Any) -> RewardView:
    """A reward joined with its episode."""
    names = ("episode", "run", "status", "value", "reason", "scored_at", "seq")
    more = ("task", "group_id", "rollout_index", "policy_version", "truncated")
    return RewardView.model_construct(
        **{name: getattr(row, name) for name in (*names, *more)},
        parts=load(row.parts),
        evidence=load(row.evidence),
    )


def record_of_row(row: Any) -> StepRecord:
    """A step as it was recorded."""
    names = ("step_id", "turn", "terminated", "truncated", "timeout_s", "policy_version", "started_at", "finished_at")
    done = row.finished_at is not None
    return StepRecord.model_construct(
        **{name: getattr(row, name) for name in names},
        calls=[Call.model_construct(**call) for call in load(row.calls)],
        results=[CallResult.model_construct(**result) for result in load(row.results)] if done else None,
        info=StepInfo(reason=row.reason),
    )


def pending(episode: EpisodeView) -> RewardView:
    """The reward of an episode that has none yet."""
    names = ("task", "run", "group_id", "rollout_index", "policy_version", "truncated")
    return RewardView.model_construct(
        episode=episode.id, status="pending", **{name: getattr(episode, name) for name in names}
    )


def task_view(task: Task, *, whole: bool = False) -> TaskView:
    """A task; `whole` with its instruction."""
    return TaskView(
        id=task.id,
        dataset=dataset_of(task.id),
        kind=task.kind,
        language=task.config.envfarm.language,
        description=task.config.task.description,
        digest=task.digest,
        full_mark=task.config.envfarm.full_mark,
        instruction=task.instruction if whole else None,
    )


def merged(*limits: EpisodeLimits | Mapping[str, Any]) -> EpisodeLimits:
    """Limits where each field is the first one given."""
    fields: dict[str, Any] = {}
    for one in reversed(limits):
        given = one.model_dump(exclude_none=True) if isinstance(one, EpisodeLimits) else one
        fields.update({name: value for name, value in given.items() if value is not None})
    return EpisodeLimits(**fields)


def _with_play(view: EpisodeView, play: Play) -> EpisodeView:
    view.messages = [MessageView(role=message.role, content=message.content) for message in play.messages]
    view.tools = play.schemas
    return view
