"""No priority of an episode: nobody could ever set one, and a run has its own"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    op.drop_column("episodes", "priority")


def downgrade() -> None:
    op.add_column("episodes", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
