"""What is read from the store: old episodes, lists, rewards, statistics."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, func, select

from envfarm.orchestrator.farm.views import record_of_row, reward_of_row, row_view
from envfarm.orchestrator.schemas.base import Page
from envfarm.orchestrator.schemas.episodes import ArtifactView, EpisodeView, GroupMember, RewardView, StepRecord
from envfarm.orchestrator.schemas.tasks import PolicyStats, TaskStats
from envfarm.orchestrator.store import tables
from envfarm.orchestrator.store.store import Store
from envfarm.toolbox.errors import BadRequest

_E, _S, _R = tables.episodes.c, tables.steps.c, tables.rewards.c
_TURN = (
    select(func.count())
    .select_from(tables.steps)
    .where(_S.episode == _E.id, _S.finished_at.is_not(None))
    .scalar_subquery()
    .label("turn")
)
_KEPT = select(tables.episodes, _TURN)
_EPISODES = _KEPT.where(_E.deleted_at.is_(None))
_REWARDS = select(tables.rewards, _E.task, _E.group_id, _E.rollout_index, _E.policy_version, _E.truncated).join(
    tables.episodes, _E.id == _R.episode
)


async def episode_row(store: Store, id: str, *, deleted: bool = False) -> Any:
    """The row of an episode, with its turn; None when there is none. `deleted`: also of one deleted lately."""
    rows = await store.rows((_KEPT if deleted else _EPISODES).where(_E.id == id))
    return rows[0] if rows else None


async def reward_of(store: Store, id: str) -> RewardView | None:
    """The reward of an episode, None when it has none yet."""
    rows = await store.rows(_REWARDS.where(_R.episode == id))
    return reward_of_row(rows[0]) if rows else None


async def list_episodes(
    store: Store, *, run: str | None, state: str | None, cursor: str | None, limit: int
) -> Page[EpisodeView]:
    """Episodes, newest first, without messages and tools."""
    query: Select[Any] = _EPISODES.order_by(_E.id.desc()).limit(limit + 1)
    if run is not None:
        query = query.where(_E.run == run)
    if state is not None:
        query = query.where(_E.state == state)
    if cursor is not None:
        query = query.where(_E.id < decode(cursor))
    rows = await store.rows(query)
    shown = rows[:limit]
    rewards = await _rewards_of(store, [row.id for row in shown if row.ended_at is not None])
    views = [row_view(row, row.turn, rewards.get(row.id), None) for row in shown]
    return Page(items=views, next=encode(shown[-1].id) if len(rows) > limit else None)


async def list_steps(store: Store, id: str, *, cursor: str | None, limit: int) -> Page[StepRecord]:
    """The steps of an episode in order of turn."""
    query = select(tables.steps).where(_S.episode == id).order_by(_S.turn).limit(limit + 1)
    if cursor is not None:
        after = decode(cursor)
        if not after.isdecimal():
            raise BadRequest(f"cursor: {cursor[:80]!r} is none of ours; leave it out to start from the beginning")
        query = query.where(_S.turn > int(after))
    rows = await store.rows(query)
    shown = rows[:limit]
    more = encode(str(shown[-1].turn)) if len(rows) > limit else None
    return Page(items=[record_of_row(row) for row in shown], next=more)


async def list_artifacts(store: Store, id: str, *, cursor: str | None, limit: int) -> Page[ArtifactView]:
    """Everything that an episode kept, by name."""
    table = tables.artifacts.c
    query = select(tables.artifacts).where(table.episode == id).order_by(table.name).limit(limit + 1)
    if cursor is not None:
        query = query.where(table.name > decode(cursor))
    rows = await store.rows(query)
    shown = rows[:limit]
    items = [ArtifactView(name=row.name, digest=row.digest) for row in shown]
    return Page(items=items, next=encode(shown[-1].name) if len(rows) > limit else None)


async def run_kept(store: Store, run: str, digest: str) -> bool:
    """Whether an episode of a run refers to a file."""
    table = tables.artifacts.c
    query = select(_E.id).join(tables.artifacts, table.episode == _E.id).limit(1)
    return bool(await store.rows(query.where(table.digest == digest, _E.run == run, _E.deleted_at.is_(None))))


async def rewards(store: Store, *, run: str | None, after: int, limit: int) -> list[RewardView]:
    """Rewards that became ready after a cursor, in the order in which they did."""
    query = _REWARDS.where(_R.seq > after, _E.deleted_at.is_(None)).order_by(_R.seq).limit(limit)
    if run is not None:
        query = query.where(_R.run == run)
    return [reward_of_row(row) for row in await store.rows(query)]


async def task_stats(
    store: Store, *, dataset: str | None, run: str | None, cursor: str | None, limit: int
) -> Page[TaskStats]:
    """How each task went, by id of the task."""
    table = tables.task_stats.c
    names = select(table.task).distinct().order_by(table.task).limit(limit + 1)
    if run is not None:
        names = names.where(table.run == run)
    if dataset is not None:
        names = names.where((table.task == dataset) | table.task.startswith(f"{dataset}/", autoescape=True))
    if cursor is not None:
        names = names.where(table.task > decode(cursor))
    tasks = [row.task for row in await store.rows(names)]
    shown = tasks[:limit]
    query = select(tables.task_stats).where(table.task.in_(shown))
    if run is not None:
        query = query.where(table.run == run)
    grouped: dict[str, list[Any]] = {task: [] for task in shown}
    for row in await store.rows(query.order_by(table.updated_at)):
        grouped[row.task].append(row)
    items = [_stats(task, rows) for task, rows in grouped.items()]
    return Page(items=items, next=encode(shown[-1]) if len(tasks) > limit else None)


async def group(store: Store, run: str, group: str) -> list[GroupMember]:
    """The episodes of a group, in order of their rollout_index, then of creation."""
    query = (
        select(_E.id, _E.task, _E.rollout_index, _E.state, _R.status, _R.value)
        .outerjoin(tables.rewards, _R.episode == _E.id)
        .where(_E.run == run, _E.group_id == group, _E.deleted_at.is_(None))
        .order_by(_E.rollout_index, _E.id)
    )
    return [
        GroupMember(
            episode=row.id,
            task=row.task,
            rollout_index=row.rollout_index,
            state=row.state,
            status=row.status or "pending",
            value=row.value,
        )
        for row in await store.rows(query)
    ]


async def states_of_run(store: Store, run: str) -> dict[str, int]:
    """How many episodes of a run are in each state."""
    query = (
        select(_E.state, func.count().label("number")).where(_E.run == run, _E.deleted_at.is_(None)).group_by(_E.state)
    )
    return {row.state: row.number for row in await store.rows(query)}


def encode(key: str) -> str:
    """An opaque cursor."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode(cursor: str) -> str:
    """What a cursor holds. Raises BadRequest."""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise BadRequest(f"cursor: {cursor[:80]!r} is none of ours; leave it out to start from the beginning") from None


async def _rewards_of(store: Store, ids: Sequence[str]) -> dict[str, RewardView]:
    if not ids:
        return {}
    return {row.episode: reward_of_row(row) for row in await store.rows(_REWARDS.where(_R.episode.in_(ids)))}


def _stats(task: str, rows: Iterable[Any]) -> TaskStats:
    """The sum over runs and policy versions; `ema` is the one that changed last."""
    stats = TaskStats(task=task)
    total = 0.0
    totals: dict[str, float] = {}
    for row in rows:
        stats.attempts += row.attempts
        stats.passes += row.passes
        stats.invalid += row.invalid
        total += row.total
        stats.ema = row.ema if row.ema is not None else stats.ema
        if row.policy_version:
            policy = stats.by_policy_version.setdefault(row.policy_version, PolicyStats())
            policy.attempts += row.attempts
            policy.passes += row.passes
            totals[row.policy_version] = totals.get(row.policy_version, 0.0) + row.total
            policy.mean = totals[row.policy_version] / policy.attempts if policy.attempts else None
    stats.mean = total / stats.attempts if stats.attempts else None
    return stats
