"""What crosses the HTTP boundary about tasks: their tools, and how they went."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, RootModel

from envfarm.orchestrator.schemas.base import ViewModel

ToolFormat = Literal["openai", "responses", "mcp"]


class TaskView(ViewModel):
    """A task. `instruction` is there only when one task is asked for."""

    id: str
    dataset: str
    kind: str
    language: str | None = None
    description: str = ""
    digest: str
    instruction: str | None = None


class PolicyStats(ViewModel):
    """How one policy version does on a task."""

    attempts: int = 0
    passes: int = 0
    mean: float | None = None


class TaskStats(ViewModel):
    """How episodes of a task went. Only rewards that are `done` count as attempts."""

    task: str
    attempts: int = 0
    passes: int = 0
    invalid: int = 0
    mean: float | None = None
    ema: float | None = Field(None, description="exponential moving average of the reward, newest weighs 0.1")
    by_policy_version: dict[str, PolicyStats] = Field({})


class ToolSchema(RootModel[dict[str, Any]]):
    """A tool in the format asked for."""
