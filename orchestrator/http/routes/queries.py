"""Query parameters."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from envfarm.orchestrator.schemas.base import MAX_INT
from envfarm.orchestrator.schemas.episodes import EpisodeState
from envfarm.orchestrator.schemas.tasks import ToolFormat


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Wait(_Query):
    """For how long to wait."""

    wait: float = Field(0.0, ge=0, le=600, description="seconds to wait for the answer to be final")


class Paged(_Query):
    """Which part of a list."""

    cursor: str | None = Field(None, max_length=1000, description="`next` of the page before")
    limit: int = Field(100, ge=1, le=1000, description="length of the page")


class Episodes(Paged):
    """Which episodes."""

    run: str | None = None
    state: EpisodeState | None = None


class Rewards(_Query):
    """Which rewards."""

    run: str | None = None
    after: int = Field(0, ge=0, le=MAX_INT, description="`next` of the answer before")
    wait: float = Field(0.0, ge=0, le=600, description="seconds to wait for the first one")
    limit: int = Field(100, ge=1, le=1000, description="number of rewards at most")


class Group(_Query):
    """Which group."""

    run: str | None = Field(None, description="the run that it is in; default: the token's, else `default`")


class Events(_Query):
    """Which events."""

    run: str | None = None
    after: int | None = Field(
        None,
        ge=0,
        le=MAX_INT,
        description="send what came after this event first; the header Last-Event-ID does the same",
    )


class Tasks(Paged):
    """Which tasks."""

    dataset: str | None = Field(None, description="the first part of the tasks' ids")
    split: str | None = None
    kind: str | None = None


class Tools(Paged):
    """Which tools."""

    dataset: str | None = None
    kind: str | None = None
    task: str | None = None
    format: ToolFormat = Field("openai", description="Chat Completions, Responses or MCP")


class Stats(Paged):
    """Which tasks."""

    dataset: str | None = None
    run: str | None = None


class Artifact(_Query):
    """How to save it."""

    name: str | None = Field(None, max_length=200, description="file name to save it under")
