"""What the farm answers, as types. Fields that a newer server adds are left out, none is required without need."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class View(BaseModel):
    """Something that the farm told; it never changes."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Message(View):
    """One chat message that an episode starts with."""

    role: str
    content: str


class EpisodeView(View):
    """An episode as it was when it was asked for."""

    id: str
    run: str
    task: str
    kind: str
    state: str
    turn: int = 0
    group_id: str | None = None
    rollout_index: int | None = None
    policy_version: str | None = None
    fork_of: str | None = None
    messages: tuple[Message, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    created_at: float
    lease_s: float | None = None
    lease_expires_at: float | None = None
    suspended_until: float | None = None
    terminated: bool = False
    truncated: bool = False
    reason: str | None = None


class Result(View):
    """What the model is told about one tool call; `is_error` marks a mistake of the model. `seconds` is its time."""

    id: str | None = None
    name: str
    content: str
    is_error: bool = False
    exit_code: int | None = None
    truncated: bool = False
    timed_out: bool = False
    seconds: float = 0.0
    artifacts: dict[str, str] = Field({})


class StepInfo(View):
    """Why an episode ended with a step."""

    reason: str | None = None


class Step(View):
    """What one turn did. Calls after the one that ended the episode have no result."""

    step_id: str
    turn: int
    results: tuple[Result, ...]
    terminated: bool = False
    truncated: bool = False
    info: StepInfo = StepInfo()

    @property
    def done(self) -> bool:
        """Whether the episode ended with it: a call finished it, or a limit cut it."""
        return self.terminated or self.truncated


class Task(View):
    """A task; `instruction` is there only when one task is asked for."""

    id: str
    dataset: str
    kind: str
    language: str | None = None
    description: str = ""
    digest: str
    full_mark: float = 1.0
    instruction: str | None = None


class Drawn(View):
    """A task that was drawn to train on, and how it went so far; no `pass_rate` before its first attempt."""

    task: str
    dataset: str
    kind: str
    attempts: int = 0
    passes: int = 0
    pass_rate: float | None = None


class TaskStats(View):
    """How the episodes of a task went; only rewards that are scored count as attempts."""

    task: str
    attempts: int = 0
    passes: int = 0
    invalid: int = 0
    mean: float | None = None
    ema: float | None = None


class Run(View):
    """A run: its quotas, and the number of its episodes by state. `lease_s` is in seconds."""

    id: str
    max_concurrent: int | None = None
    qps: dict[str, float] = Field({})
    priority: int = 0
    lease_s: float
    episodes: dict[str, int] = Field({})
