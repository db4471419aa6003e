"""How an episode ends in the store: its reward, what the reward refers to, and its task's statistics."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import text

from envfarm.orchestrator.farm.episodes import Recorded, happened
from envfarm.orchestrator.schemas.episodes import EpisodeState, RewardStatus, RewardView
from envfarm.orchestrator.store.changes import INSERT_ARTIFACT, INSERT_REWARD, Change
from envfarm.orchestrator.store.codec import dump, plain

UPSERT_STATS = text(
    "INSERT INTO task_stats (run, task, policy_version, attempts, passes, invalid, total, ema, updated_at) "
    "VALUES (:run, :task, :policy_version, :attempts, :passes, :invalid, :total, :ema, :at) "
    "ON CONFLICT (run, task, policy_version) DO UPDATE SET attempts = task_stats.attempts + excluded.attempts, "
    "passes = task_stats.passes + excluded.passes, invalid = task_stats.invalid + excluded.invalid, "
    "total = task_stats.total + excluded.total, updated_at = excluded.updated_at, "
    "ema = CASE WHEN excluded.ema IS NULL THEN task_stats.ema WHEN task_stats.ema IS NULL THEN excluded.ema "
    "ELSE task_stats.ema * 0.9 + excluded.ema * 0.1 END"
)


def verdict(episode: Recorded, status: RewardStatus, *, reason: str | None = None, **more: Any) -> RewardView:
    """A reward of an episode, with what every reward says."""
    return RewardView.model_construct(
        episode=episode.id,
        task=episode.task,
        run=episode.run,
        status=status,
        reason=reason,
        group_id=episode.group_id,
        rollout_index=episode.rollout_index,
        policy_version=episode.policy_version,
        truncated=episode.truncated,
        scored_at=time.time(),
        **more,
    )


def ending(
    episode: Recorded, state: EpisodeState, reward: RewardView, *, attempts: int = 0, mark: float = 1.0
) -> tuple[Change, dict[str, Any]]:
    """What becomes durable with an episode's last state, and the reward's row, which gets its `seq` when it is written.

    `mark` is the reward of a task that was solved.
    """
    row: dict[str, Any] = {
        "episode": episode.id,
        "run": episode.run,
        "status": reward.status,
        "value": reward.value,
        "parts": dump(reward.parts),
        "evidence": dump(reward.evidence),
        "reason": None if reward.reason is None else plain(reward.reason),
        "attempts": attempts,
        "scored_at": reward.scored_at,
    }
    change = Change(rows=[(INSERT_REWARD, row)])
    for name, digest in reward.evidence.items():
        change.rows.append((INSERT_ARTIFACT, {"episode": episode.id, "name": f"reward/{name}", "digest": digest}))
    if state in ("scored", "failed"):
        change.rows.append((UPSERT_STATS, _stats(episode, reward, mark)))
    ready = happened(episode, "reward.ready", status=reward.status, value=reward.value)
    ready.into = row
    change.events.append(ready)
    return change, row


def end_columns(state: EpisodeState, reward: RewardView) -> dict[str, Any]:
    """What an episode's row says of its end."""
    return {"ended_at": reward.scored_at} | ({} if state == "scored" else {"reason": reward.reason})


def _stats(episode: Recorded, reward: RewardView, mark: float) -> dict[str, Any]:
    done = reward.status == "done" and reward.value is not None
    value = reward.value if done else None
    return {
        "run": episode.run,
        "task": episode.task,
        "policy_version": episode.policy_version or "",
        "attempts": int(done),
        "passes": int(value is not None and value >= mark),
        "invalid": int(not done),
        "total": value or 0.0,
        "ema": value,
        "at": time.time(),
    }
