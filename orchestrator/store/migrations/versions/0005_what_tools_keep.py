"""What an episode's tools keep from call to call, such as the pages that a search agent has open"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"


def upgrade() -> None:
    op.add_column("steps", sa.Column("state", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("steps", "state")
