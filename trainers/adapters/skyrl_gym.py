"""SkyRL: a text environment whose tool calls, in the form of Qwen and Hermes, run in an episode of the farm.

    skyrl_gym.register(id="envfarm", entry_point="envfarm.trainers.adapters.skyrl_gym:FarmEnv")

SkyRL knows no missing reward: a rollout that the farm failed is played again, and in the end raised.
"""

from __future__ import annotations

import json
import logging
import re
import weakref
from collections.abc import Mapping
from typing import Any

from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

from envfarm.trainers.adapters.shared import close, close_aside, groups_of, shared_farm
from envfarm.trainers.client import ClientError, EpisodeFailed, Gone, NullReward, Reward, Step, SyncEpisode

log = logging.getLogger(__name__)

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_SYSTEM = (
    "You may call functions. Their signatures:\n<tools>\n{tools}\n</tools>\nFor each call, write a JSON object with "
    'its name and arguments between tags:\n<tool_call>\n{{"name": <name>, "arguments": <object>}}\n</tool_call>'
)
_Calls = list[dict[str, Any]]


class FarmEnv(BaseTextEnv):
    """One rollout of the row's `task`, on the farm of ENVFARM_URL and ENVFARM_TOKEN.

    `env_config` may have `generations` (the trainer's samples of a prompt), `retries` (2) and `limits`; the row
    `max_turns` (50). An answer without a call ends the rollout, and is the answer where a task wants one.
    """

    def __init__(self, env_config: Mapping[str, Any] | None = None, extras: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        config, row = env_config or {}, extras or {}
        if not row.get("task"):
            raise ValueError("task: the row names no task of the farm; give the dataset a column `task`")
        self.task = str(row["task"])
        self.max_turns = int(row.get("max_turns") or 50)
        self._retries = int(config.get("retries", 2))
        self._limits = dict(config.get("limits") or {})
        self._place = groups_of(int(config.get("generations", 1))).place(self.task)
        self._episode: SyncEpisode | None = None
        self._played: list[_Calls] = []
        self._answer: str | None = None

    def init(self, prompt: list[dict[str, str]]) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """Begin the episode, without waiting for its sandbox; the prompt, the tools and the task's messages."""
        episode = self._begin()
        tools = "\n".join(json.dumps(tool) for tool in episode.tools)
        messages = [{"role": one.role, "content": one.content} for one in episode.messages]
        first = {"role": "system", "content": _SYSTEM.format(tools=tools)}
        if messages[0]["role"] == "system":
            first["content"] = f"{messages.pop(0)['content']}\n\n{first['content']}"
        return [first, *(one for one in prompt if one["content"]), *messages], {"episode": episode.id}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Run the calls of an answer. Raises NullReward, ClientError, EpisodeFailed when playing again did not help."""
        self.turns += 1
        calls, wrong = _parse(action)
        if not calls and not wrong:
            self._answer = action
            return self._end([])
        step = self._insist(lambda: self._play(calls)) if calls else None
        told = [result.content for result in step.results] if step is not None else []
        text = "\n".join(f"<tool_response>\n{one}\n</tool_response>" for one in [*told, *wrong])
        said = [{"role": "user", "content": text}]
        if self.turns >= self.max_turns or (calls and (step is None or step.done)):
            return self._end(said)
        return BaseTextEnvStepOutput(observations=said, reward=0.0, done=False, metadata={"episode": self._id()})

    def close(self) -> None:
        """Let go of the episode; SkyRL leaves that out after an error, and then the end of this object does it."""
        if self._episode is not None:
            close(self._episode)

    def _begin(self) -> SyncEpisode:
        [episode] = shared_farm().create(self.task, limits=self._limits, **self._place)
        weakref.finalize(self, close_aside, episode)
        self._episode = episode
        return episode

    def _play(self, calls: _Calls) -> Step | None:
        """One turn; None where a limit ended the episode before it."""
        episode = self._episode or self._replay()
        try:
            step = episode.step(*calls)
        except Gone:
            episode.ready()  # raises where it was no limit
            return None
        self._played.append(calls)
        return step

    def _end(self, said: list[dict[str, str]]) -> BaseTextEnvStepOutput:
        reward = self._insist(self._score)
        about = {"episode": reward.episode, "parts": reward.parts, "truncated": reward.truncated}
        return BaseTextEnvStepOutput(observations=said, reward=reward.value, done=True, metadata=about)

    def _score(self) -> Reward:
        episode = self._episode or self._replay()
        if not episode.inner.ended:
            episode.finish("model" if self._answer is not None else "length", self._answer)
        reward = episode.reward()
        if not reward.scored:
            raise NullReward(reward)
        return reward

    def _replay(self) -> SyncEpisode:
        """A new episode in which all that was called so far is called again."""
        episode = self._begin()
        for calls in self._played:
            if not episode.inner.ended:
                episode.step(*calls)
        return episode

    def _insist(self, work: Any) -> Any:
        for left in reversed(range(self._retries + 1)):
            try:
                return work()
            except (ClientError, EpisodeFailed, NullReward) as error:
                if not left:
                    raise
                log.warning("%s failed and is played again: %s", self.task, error)
                self.close()
                self._episode = None
        raise AssertionError("unreachable")

    def _id(self) -> str:
        return self._episode.id if self._episode is not None else ""


def _parse(action: str) -> tuple[_Calls, list[str]]:
    """The calls of an answer, and what is wrong with those that are none."""
    calls, wrong = [], []
    for text in _CALL.findall(action):
        try:
            call = json.loads(text)
        except (ValueError, RecursionError) as error:  # also for numbers of thousands of digits
            wrong.append(f"error: the call is no JSON ({error}). It was not run; send it again, corrected.")
            continue
        arguments = call.get("arguments", {}) if isinstance(call, dict) else None
        if isinstance(arguments, dict) and isinstance(call.get("name"), str):
            calls.append({"name": call["name"], "arguments": arguments})
        else:
            wrong.append("error: a call is an object with `name` and `arguments`. It was not run; send it again.")
    return calls, wrong
