"""Groups are looked up as a whole"""

from __future__ import annotations

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"


def upgrade() -> None:
    op.create_index("ix_episodes_group", "episodes", ["run", "group_id"])


def downgrade() -> None:
    op.drop_index("ix_episodes_group", "episodes")
