"""What clients of the Open Reward Standard send, as in `openreward.environments.types` of openreward 0.1.167."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from envfarm.orchestrator.schemas.base import MAX_INT, Name, RequestModel


class CreateSession(BaseModel):
    """Asks for a session id; what newer clients add is for their own platform."""

    model_config = ConfigDict(extra="ignore")


class Create(RequestModel):
    """The task of a session: as `/task` gave it, or by its place in a split."""

    env_name: str | None = None
    task_spec: dict[str, Any] | None = None
    split: str | None = None
    index: int | None = Field(None, ge=0, le=MAX_INT)
    toolset_name: str | None = None

    @model_validator(mode="after")
    def _one_task(self) -> Create:
        if (self.task_spec is None) == (self.split is None or self.index is None):
            raise ValueError("give either task_spec, or split and index")
        if self.task_spec is not None and not isinstance(self.task_spec.get("task_id"), str):
            raise ValueError("task_spec: it has no task_id; take it from /task")
        if self.toolset_name is not None:
            raise ValueError("toolset_name: there are no toolsets here; the task has its tools")
        return self


class InSplit(RequestModel):
    """A split."""

    split: str


class InSplitAt(InSplit):
    """A task of a split."""

    index: int = Field(ge=-MAX_INT, le=MAX_INT, description="negative: from the end")


class InSplitFromTo(InSplit):
    """Tasks of a split, as a slice of Python."""

    start: int | None = Field(None, ge=-MAX_INT, le=MAX_INT)
    stop: int | None = Field(None, ge=-MAX_INT, le=MAX_INT)


class ToolCall(RequestModel):
    """A call of a tool; `task_id` takes up one whose stream broke."""

    name: str
    input: dict[str, Any] = Field({})
    task_id: Name | None = None
