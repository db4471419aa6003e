"""Plays a recorded episode again in a fresh sandbox, and finds the first thing that came out otherwise."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import unified_diff
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from envfarm.envs.base import Reward
from envfarm.orchestrator.farm.core import FarmSettings
from envfarm.orchestrator.play import Player, Playing
from envfarm.orchestrator.schemas.episodes import Call, CallResult, EpisodeLimits
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.explain import explain
from envfarm.toolbox.tools.base import ToolResult

_COMPARED = ("content", "exit_code", "is_error", "truncated", "timed_out")
_DIFF_LINES = 20


class _Recorded(BaseModel):
    model_config = ConfigDict(extra="ignore")


class RecordedStep(_Recorded):
    """One step of an episode: its calls, and what came back."""

    turn: int
    timeout_s: float | None = None
    calls: list[Call]
    results: list[CallResult] | None = None


class RecordedReward(_Recorded):
    """What the episode earned."""

    status: str
    value: float | None = None
    parts: dict[str, float] = {}


class RecordedEpisode(_Recorded):
    """An episode as `envfarm episodes show --json` prints it."""

    id: str
    task: str
    steps: list[RecordedStep]
    limits: EpisodeLimits = EpisodeLimits()
    reward: RecordedReward | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing that came out otherwise."""

    where: str  # `step 3, call 1 (bash): content`, `reward: value`
    recorded: Any
    replayed: Any

    def __str__(self) -> str:
        if isinstance(self.recorded, str) and isinstance(self.replayed, str):
            lines = unified_diff(
                self.recorded.splitlines(), self.replayed.splitlines(), "recorded", "replayed", lineterm="", n=1
            )
            return "\n".join([self.where, *[line for _, line in zip(range(_DIFF_LINES), lines, strict=False)]])
        return f"{self.where}: recorded {self.recorded!r}, replayed {self.replayed!r}"


@dataclass(slots=True)
class Replay:
    """How a replay came out; the reward is None where the recorded episode has none to compare."""

    steps: int = 0
    difference: Difference | None = None
    reward: Reward | None = None
    seconds: float = 0.0
    results: list[ToolResult] = field(default_factory=list)

    @property
    def matches(self) -> bool:
        """Whether every observation and the reward came out as recorded."""
        return self.difference is None


def recorded(data: Mapping[str, Any]) -> RecordedEpisode:
    """An exported episode. Raises BadRequest, which names the field."""
    try:
        return RecordedEpisode.model_validate(data)
    except ValidationError as error:
        raise BadRequest(
            f"this is no exported episode: {explain(error, RecordedEpisode)}; "
            "make one with `envfarm episodes show ID --json`"
        ) from None


async def replay(
    episode: Mapping[str, Any],
    task: Task,
    *,
    player: Player,
    settings: FarmSettings,
) -> Replay:
    """Make an episode's calls again, up to the first difference, and score what they leave. Raises FarmError."""
    record = recorded(episode)
    started = time.monotonic()
    done = Replay()
    async with player.start(task) as playing:
        done.difference = await _steps(record, playing, done, settings)
        done.results = playing.results
        if done.matches and record.reward is not None and record.reward.status == "done":
            done.reward = await playing.score()
            done.difference = _reward_difference(record.reward, done.reward)
    done.seconds = time.monotonic() - started
    return done


async def _steps(record: RecordedEpisode, playing: Playing, done: Replay, settings: FarmSettings) -> Difference | None:
    most = record.limits.step_timeout_s or settings.step_timeout
    limit = record.limits.output_limit or settings.output_limit
    for step in record.steps:
        if step.results is None:  # it was under way when the episode ended
            break
        for number, (call, result) in enumerate(zip(step.calls, step.results, strict=False), 1):
            made = await playing.call(
                call,
                timeout=min(step.timeout_s or most, most),
                output_limit=limit,
                kept_outputs=settings.kept_outputs,
            )
            where = f"step {step.turn}, call {number} ({call.name})"
            for difference in _result_differences(where, result, made):
                return difference
        done.steps += 1
    return None


def _result_differences(where: str, result: CallResult, made: ToolResult) -> Iterator[Difference]:
    for name in _COMPARED:
        if getattr(result, name) != getattr(made, name):
            yield Difference(f"{where}: {name}", getattr(result, name), getattr(made, name))


def _reward_difference(record: RecordedReward, reward: Reward) -> Difference | None:
    if record.value != reward.value:
        return Difference("reward: value", record.value, reward.value)
    if record.parts != reward.parts:
        return Difference("reward: parts", record.parts, reward.parts)
    return None
