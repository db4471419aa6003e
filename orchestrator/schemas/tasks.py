"""What crosses the HTTP boundary about tasks: their tools, and how they went."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, RootModel, model_validator

from envfarm.orchestrator.schemas.base import MAX_INT, Name, RequestModel, ViewModel

Share = Annotated[float, Field(ge=0, le=1)]
ToolFormat = Literal["openai", "responses", "mcp"]


class TaskView(ViewModel):
    """A task. `instruction` is there only when one task is asked for."""

    id: str
    dataset: str
    kind: str
    language: str | None = None
    description: str = ""
    digest: str
    full_mark: float = Field(1.0, description="the reward of a task that was solved")
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


class SampleRequest(RequestModel):
    """How many tasks to draw, from which, and how likely each is."""

    n: int = Field(ge=1, le=10000, description="tasks to draw")
    dataset: str | None = None
    split: str | None = None
    kind: str | None = None
    run: Name | None = Field(None, description="whose statistics count; null: all runs'")
    policy_version: Name | None = Field(None, description="whose attempts count; null: every version's")
    pass_rate: tuple[Share, Share] = Field((0.0, 1.0), description="lowest and highest share of attempts that passed")
    min_attempts: int = Field(1, ge=1, le=MAX_INT, description="with fewer attempts a task is new")
    new: float = Field(1.0, ge=0, le=1e6, description="how likely a new task is beside one in the band; 0: never")
    weights: dict[str, Annotated[float, Field(ge=0, le=1e6)]] | None = Field(
        None, description="share of the draws by dataset, those not named get none; null: all tasks alike"
    )
    repeat: bool = Field(False, description="whether a task may be drawn more than once")
    seed: int | None = Field(None, ge=-MAX_INT, le=MAX_INT, description="makes the draw repeatable")

    @model_validator(mode="after")
    def _a_band(self) -> SampleRequest:
        if self.pass_rate[0] > self.pass_rate[1]:
            raise ValueError("pass_rate: give the lower bound first")
        return self


class Sampled(ViewModel):
    """A task that was drawn, and how it went so far."""

    task: str
    dataset: str
    kind: str
    attempts: int
    passes: int
    pass_rate: float | None = Field(None, description="null before the first attempt")


class SampleView(ViewModel):
    """The draw; fewer than were asked for where there are fewer candidates and none may be repeated."""

    items: list[Sampled]
    candidates: int = Field(description="tasks that could be drawn")
    tasks: int = Field(description="tasks of that dataset, split and kind")


class ToolSchema(RootModel[dict[str, Any]]):
    """A tool in the format asked for."""
