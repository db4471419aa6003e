"""The history of the store's tables; alembic plays it when a server starts."""
