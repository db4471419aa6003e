"""Servers that take over from each other: where each is reached, where its sandboxes are, and since when it is gone"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"

_COLUMNS = ("url", "place", "term", "left_at")


def upgrade() -> None:
    op.add_column("servers", sa.Column("url", sa.Text(), nullable=True))
    op.add_column("servers", sa.Column("place", sa.String(length=200), nullable=True))
    op.add_column("servers", sa.Column("term", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("servers", sa.Column("left_at", sa.Double(), nullable=True))


def downgrade() -> None:
    for column in reversed(_COLUMNS):
        op.drop_column("servers", column)
