"""What crosses the HTTP boundary about runs: their quotas, and the leases of their episodes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from envfarm.orchestrator.schemas.base import Id, Name, RequestModel, ViewModel
from envfarm.orchestrator.schemas.episodes import EpisodeLimits


class SourceQuotas(RequestModel):
    """The quotas of one source of a run's tasks; they come on top of the run's own."""

    max_concurrent: int | None = Field(None, ge=1, description="live episodes at once; null: as the run may have")
    priority: int | None = Field(None, ge=-100, le=100, description="higher is served first; null: the run's")
    limits: EpisodeLimits = EpisodeLimits()


class RunRequest(RequestModel):
    """The quotas of a run; whatever is left out gets its default."""

    max_concurrent: int | None = Field(None, ge=1, description="live episodes at once; null: as the farm can hold")
    qps: dict[str, Annotated[float, Field(gt=0)]] = Field({}, description="calls per second by tool name")
    priority: int = Field(0, ge=-100, le=100, description="higher is served first")
    lease_s: float | None = Field(None, gt=0, le=86400, description="seconds that an idle episode lives")
    limits: EpisodeLimits = EpisodeLimits()
    sources: dict[str, SourceQuotas] = Field({}, description="by dataset, quotas within the run's")


class RunView(ViewModel):
    """A run with its quotas and what it has now."""

    id: str
    max_concurrent: int | None = None
    qps: dict[str, float] = Field({})
    priority: int = 0
    lease_s: float
    limits: EpisodeLimits = EpisodeLimits()
    sources: dict[str, SourceQuotas] = Field({})
    created_at: float
    episodes: dict[str, int] = Field({}, description="number of episodes by state")


class LeaseRequest(RequestModel):
    """A heartbeat for all live episodes of a run, or for some."""

    run: Name | None = None
    ids: list[Id] | None = Field(None, max_length=20000)

    @model_validator(mode="after")
    def _one(self) -> LeaseRequest:
        if (self.run is None) == (self.ids is None):
            raise ValueError("give either run or ids")
        return self


class LeaseView(ViewModel):
    """Which leases were renewed, and which episodes have none any more."""

    renewed: list[str]
    gone: list[str] = Field([])
    lease_expires_at: float | None = None
