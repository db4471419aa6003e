"""The first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None


def upgrade() -> None:
    _servers()
    _episodes()
    _results()


def downgrade() -> None:
    for table in ("task_stats", "artifacts", "events", "rewards", "steps", "episodes", "requests", "runs", "servers"):
        op.drop_table(table)


def _servers() -> None:
    op.create_table(
        "servers",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("heartbeat_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_servers")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_table(
        "requests",
        sa.Column("run", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("episodes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("run", "key", name=op.f("pk_requests")),
    )
    op.create_index(op.f("ix_requests_created_at"), "requests", ["created_at"])


def _episodes() -> None:
    op.create_table(
        "episodes",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("run", sa.String(length=200), nullable=False),
        sa.Column("task", sa.String(length=400), nullable=False),
        sa.Column("task_digest", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("sandbox", sa.String(length=200), nullable=True),
        sa.Column("group_id", sa.String(length=200), nullable=True),
        sa.Column("rollout_index", sa.Integer(), nullable=True),
        sa.Column("policy_version", sa.String(length=200), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("terminated", sa.Boolean(), nullable=False),
        sa.Column("truncated", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("deleted_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_episodes")),
    )
    op.create_index("ix_episodes_deleted_at", "episodes", ["deleted_at"])
    op.create_index("ix_episodes_owner", "episodes", ["owner", "state"])
    op.create_index("ix_episodes_run", "episodes", ["run", "id"])
    op.create_table(
        "steps",
        sa.Column("episode", sa.String(length=40), nullable=False),
        sa.Column("step_id", sa.String(length=200), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("calls", sa.Text(), nullable=False),
        sa.Column("results", sa.Text(), nullable=True),
        sa.Column("timeout_s", sa.Double(), nullable=True),
        sa.Column("terminated", sa.Boolean(), nullable=False),
        sa.Column("truncated", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("policy_version", sa.String(length=200), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["episode"], ["episodes.id"], name=op.f("fk_steps_episode_episodes"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("episode", "step_id", name=op.f("pk_steps")),
        sa.UniqueConstraint("episode", "turn", name=op.f("uq_steps_episode")),
    )


def _results() -> None:
    op.create_table(
        "rewards",
        sa.Column("episode", sa.String(length=40), nullable=False),
        sa.Column("run", sa.String(length=200), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("parts", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("scored_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["episode"], ["episodes.id"], name=op.f("fk_rewards_episode_episodes"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("episode", name=op.f("pk_rewards")),
    )
    op.create_index("ix_rewards_run", "rewards", ["run", "seq"])
    op.create_index("ix_rewards_seq", "rewards", ["seq"])
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("run", sa.String(length=200), nullable=False),
        sa.Column("episode", sa.String(length=40), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_table(
        "artifacts",
        sa.Column("episode", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.ForeignKeyConstraint(
            ["episode"], ["episodes.id"], name=op.f("fk_artifacts_episode_episodes"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("episode", "name", name=op.f("pk_artifacts")),
    )
    op.create_index(op.f("ix_artifacts_digest"), "artifacts", ["digest"])
    op.create_table(
        "task_stats",
        sa.Column("run", sa.String(length=200), nullable=False),
        sa.Column("task", sa.String(length=400), nullable=False),
        sa.Column("policy_version", sa.String(length=200), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("passes", sa.Integer(), nullable=False),
        sa.Column("invalid", sa.Integer(), nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.Column("ema", sa.Double(), nullable=True),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("run", "task", "policy_version", name=op.f("pk_task_stats")),
    )
