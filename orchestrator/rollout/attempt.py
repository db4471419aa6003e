"""One attempt of a model at a task, from the first message to the reward."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from envfarm.orchestrator.rollout.conversation import Conversation, Protocol
from envfarm.toolbox.chat import ChatModel
from envfarm.toolbox.endpoint import ModelError, ModelRefused
from envfarm.trainers.client import ClientError, Episode, EpisodeFailed, Farm, Task

_IDLE = 3  # answers in a row without a call, after which the model is taken to be done
_CLOSE = 1e-9  # rewards that are sums of parts
_TOO_LONG = ("context", "too long", "too many tokens", "maximum length")  # in an endpoint's refusal


@dataclass(frozen=True, slots=True)
class Options:
    """How attempts are made."""

    run: str = "rollout"
    protocol: Protocol = "tools"
    fold: int = 200_000  # characters of tool results that are sent
    temperature: float | None = None
    max_tokens: int | None = None  # of one answer
    limits: Mapping[str, Any] = field(default_factory=dict)  # of the episode, as in EpisodeLimits


class Trajectory(BaseModel):
    """One line of the output: what was said, done and earned. Times are in seconds.

    `value` is null where there is no reward: `status` is then `error` or `invalid` as the farm says it, or `model`
    where the model's endpoint failed.
    """

    model_config = ConfigDict(extra="ignore")

    task: str
    kind: str
    attempt: int
    model: str
    episode: str | None = None
    status: str = "model"
    value: float | None = None
    passed: bool | None = None
    parts: dict[str, float] = {}
    reason: str | None = None
    ended: str | None = None  # finish, turns, time, …; context: the model's window was full; idle: it called nothing
    turns: int = 0
    calls: int = 0
    folded: int = 0  # results that the last question left out
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    model_seconds: float = 0.0
    tool_seconds: float = 0.0
    messages: list[dict[str, Any]] = []


async def play(farm: Farm, model: ChatModel, task: Task, number: int, options: Options) -> Trajectory:
    """Play one attempt. A farm or an endpoint that fails is in its `status`, and never a reward of 0."""
    done = Trajectory(task=task.id, kind=task.kind, attempt=number, model=model.model)
    started = time.monotonic()
    about = {"run": options.run, "rollout_index": number, "policy_version": model.model}
    try:
        async with farm.episode(task.id, **about, limits=dict(options.limits)) as episode:
            done.episode = episode.id
            talk = Conversation(episode.messages, episode.tools, options.protocol, options.fold)
            try:
                done.ended = await _talk(episode, model, talk, done, options)
            finally:
                done.messages = talk.messages
            reward = await episode.reward()
            done.status, done.value, done.parts = reward.status, reward.or_none(), dict(reward.parts)
            done.reason = reward.reason
            if reward.scored:
                done.passed = reward.value >= task.full_mark - _CLOSE
    except ModelError as error:
        done.status, done.reason = "model", str(error)
    except (ClientError, EpisodeFailed) as error:
        done.status, done.reason = "error", str(error)
    done.seconds = round(time.monotonic() - started, 3)
    return done


async def _talk(episode: Episode, model: ChatModel, talk: Conversation, done: Trajectory, options: Options) -> str:
    """Let the model and the tools take turns; why it ended. Raises ModelError, ClientError."""
    idle = 0
    while True:
        asked = time.monotonic()
        try:
            answer = await model.complete(
                talk.sent(), tools=talk.tools, temperature=options.temperature, max_tokens=options.max_tokens
            )
        except ModelRefused as error:
            if not done.turns or not any(word in str(error).lower() for word in _TOO_LONG):
                raise
            await episode.finish("context")
            return "context"
        done.model_seconds = round(done.model_seconds + time.monotonic() - asked, 3)
        done.prompt_tokens += answer.usage.prompt_tokens
        done.completion_tokens += answer.usage.completion_tokens
        done.folded = talk.folded
        calls = talk.answered(answer)
        if not calls:
            idle += 1
            if idle == _IDLE:
                await episode.finish("length" if answer.finish_reason == "length" else "model", answer=answer.text)
                return "idle"
            talk.nudge()
            continue
        idle = 0
        step = await episode.step(*calls)
        talk.observed(calls, step)
        done.turns, done.calls = done.turns + 1, done.calls + len(step.results)
        done.tool_seconds = round(done.tool_seconds + sum(result.seconds for result in step.results), 3)
        if step.done:
            return step.info.reason or "finish"
