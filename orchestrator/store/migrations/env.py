"""Run by alembic: migrates over the connection that the store handed in."""

from __future__ import annotations

from alembic import context

from envfarm.orchestrator.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
    render_as_batch=True,
)
context.run_migrations()
