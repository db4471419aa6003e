"""Runs: the quotas of a trainer's run, kept and in force."""

from __future__ import annotations

import time

from sqlalchemy import select, text

from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.schemas.runs import RunRequest, RunView
from envfarm.orchestrator.store import queries, tables
from envfarm.orchestrator.store.changes import Change
from envfarm.orchestrator.store.codec import dump, load
from envfarm.toolbox.errors import NotFound

_UPSERT_RUN = text(
    "INSERT INTO runs (id, settings, created_at) VALUES (:id, :settings, :at) "
    "ON CONFLICT (id) DO UPDATE SET settings = excluded.settings"
)


class Runs:
    """Sets and reads runs."""

    def __init__(self, core: Core) -> None:
        self.core = core

    async def put(self, run: str, request: RunRequest) -> None:
        """Set a run's quotas, also for its episodes that live. Raises StoreError."""
        row = {"id": run, "settings": dump(request.model_dump(exclude_defaults=True)), "at": time.time()}
        await self.core.store.write(Change(rows=[(_UPSERT_RUN, row)]))
        self.core.set_run(run, request)
        for episode in self.core.live.values():
            if episode.run == run:
                episode.lease_s = self.core.lease_seconds(run)

    async def get(self, run: str) -> RunView:
        """A run with its quotas and its episodes by state. Raises NotFound."""
        rows = await self.core.store.rows(select(tables.runs).where(tables.runs.c.id == run))
        states = await queries.states_of_run(self.core.store, run)
        if not rows and not states:
            raise NotFound(f"no run {run!r}; PUT /v1/runs/{run} makes one")
        settings = RunRequest.model_validate(load(rows[0].settings)) if rows else RunRequest()
        return RunView(
            id=run,
            max_concurrent=settings.max_concurrent,
            qps=settings.qps,
            priority=settings.priority,
            lease_s=self.core.lease_seconds(run),
            limits=settings.limits,
            sources=settings.sources,
            created_at=rows[0].created_at if rows else 0.0,
            episodes=states,
        )
