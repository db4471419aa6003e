"""The origin of a fork in its row: the event that named it is forgotten after a day"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"


def upgrade() -> None:
    op.add_column("episodes", sa.Column("fork_of", sa.String(length=40), nullable=True))


def downgrade() -> None:
    op.drop_column("episodes", "fork_of")
