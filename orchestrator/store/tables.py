"""The tables of the store. JSON is kept as text, so that both databases hold the same bytes."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

servers = Table(
    "servers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("started_at", Double, nullable=False),
    Column("heartbeat_at", Double, nullable=False),
    Column("url", Text),  # where the other servers reach it
    Column("place", String(200)),  # where its sandboxes are, if others may take them over
    Column("term", BigInteger, nullable=False, server_default="0"),  # rises when it signs on, or is taken over
    Column("left_at", Double),  # it signed off, or was taken over, and did not sign on again
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("settings", Text, nullable=False),  # RunRequest
    Column("created_at", Double, nullable=False),
)

requests = Table(  # idempotency keys of creations and forks
    "requests",
    metadata,
    Column("run", String(200), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("episodes", Text, nullable=False),  # their ids
    Column("created_at", Double, nullable=False, index=True),
)

episodes = Table(
    "episodes",
    metadata,
    Column("id", String(40), primary_key=True),  # rises with the time of creation
    Column("run", String(200), nullable=False),
    Column("task", String(400), nullable=False),
    Column("task_digest", String(80), nullable=False),
    Column("kind", String(80), nullable=False),
    Column("state", String(16), nullable=False),
    Column("owner", String(64), nullable=False),  # the server that drives it
    Column("sandbox", String(200)),
    Column("group_id", String(200)),
    Column("rollout_index", Integer),
    Column("policy_version", String(200)),
    Column("limits", Text, nullable=False),  # EpisodeLimits, every field set that has a value
    Column("answer", Text),  # JSON: the model's text may hold what a text column cannot
    Column("evidence", Text),  # what `collect` saved, name to digest; null until it is saved
    Column("terminated", Boolean, nullable=False),
    Column("truncated", Boolean, nullable=False),
    Column("reason", Text),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("deleted_at", Double),
    Column("fork_of", String(40)),  # its origin's id, which may be deleted by now
    Column("rested_s", Double, nullable=False, server_default="0"),  # of its earlier suspensions
    Column("suspended_at", Double),
    Column("suspended_until", Double),
    Index("ix_episodes_run", "run", "id"),
    Index("ix_episodes_owner", "owner", "state"),
    Index("ix_episodes_group", "run", "group_id"),
    Index("ix_episodes_deleted_at", "deleted_at"),
)

steps = Table(
    "steps",
    metadata,
    Column("episode", String(40), ForeignKey("episodes.id", ondelete="CASCADE"), primary_key=True),
    Column("step_id", String(200), primary_key=True),
    Column("turn", Integer, nullable=False),
    Column("digest", String(32), nullable=False),  # of the calls
    Column("calls", Text, nullable=False),  # list of Call
    Column("results", Text),  # list of CallResult: of every call when the step is done, else of those that are
    Column("state", Text),  # what the tools keep of the episode after those calls; null: as before
    Column("timeout_s", Double),
    Column("terminated", Boolean, nullable=False),
    Column("truncated", Boolean, nullable=False),
    Column("reason", Text),
    Column("policy_version", String(200)),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double),
    UniqueConstraint("episode", "turn"),
)

rewards = Table(
    "rewards",
    metadata,
    Column("episode", String(40), ForeignKey("episodes.id", ondelete="CASCADE"), primary_key=True),
    Column("run", String(200), nullable=False),
    Column("seq", BigInteger, nullable=False),  # the id of its reward.ready event
    Column("status", String(16), nullable=False),
    Column("value", Double),
    Column("parts", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False),
    Column("scored_at", Double, nullable=False),
    Index("ix_rewards_seq", "seq"),
    Index("ix_rewards_run", "run", "seq"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("type", String(40), nullable=False),
    Column("run", String(200), nullable=False),
    Column("episode", String(40)),
    Column("at", Double, nullable=False),
    Column("data", Text, nullable=False),
)

artifacts = Table(  # which episode refers to which file
    "artifacts",
    metadata,
    Column("episode", String(40), ForeignKey("episodes.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(400), primary_key=True),
    Column("digest", String(80), nullable=False, index=True),
)

task_stats = Table(
    "task_stats",
    metadata,
    Column("run", String(200), primary_key=True),
    Column("task", String(400), primary_key=True),
    Column("policy_version", String(200), primary_key=True),  # empty where none was named
    Column("attempts", Integer, nullable=False),
    Column("passes", Integer, nullable=False),
    Column("invalid", Integer, nullable=False),
    Column("total", Double, nullable=False),  # sum of the rewards
    Column("ema", Double),
    Column("updated_at", Double, nullable=False),
)
