"""Episodes that are suspended, and how long they rested"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"


def upgrade() -> None:
    op.add_column("episodes", sa.Column("rested_s", sa.Double(), nullable=False, server_default="0"))
    op.add_column("episodes", sa.Column("suspended_at", sa.Double(), nullable=True))
    op.add_column("episodes", sa.Column("suspended_until", sa.Double(), nullable=True))


def downgrade() -> None:
    for name in ("suspended_until", "suspended_at", "rested_s"):
        op.drop_column("episodes", name)
