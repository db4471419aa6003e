"""verifiers: a taskset of the farm's tasks, whose rollouts are episodes, and the toolset that serves their tools.

verifiers runs the toolset as a program of its own (this module), once for all rollouts of a worker.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, ClassVar, cast

from mcp.server.mcpserver import MCPServer
from mcp.types import CallToolResult, TextContent, Tool
from pydantic import Field
from verifiers.v1 import State, Task, TaskConfig, TaskData, Taskset, TasksetConfig, Toolset, Trace, reward, stop
from verifiers.v1.mcp import SharedToolsetConfig
from verifiers.v1.runtimes import Runtime

from envfarm.trainers.adapters.shared import (
    OVER,
    PATIENCE,
    close,
    close_aside,
    farm_token,
    farm_url,
    groups_of,
    shared_farm,
)
from envfarm.trainers.client import Client, ClientError, Gone, SyncEpisode


class FarmState(State):
    """What a rollout's hooks and its tools share."""

    episode: str = ""
    tools: list[dict[str, Any]] = Field([])
    over: bool = False
    lost: str = ""  # why the farm could not run a call; then there is no reward


class FarmData(TaskData):
    """A task of the farm; `farm_task` is its id."""

    farm_task: str = ""


class FarmTaskConfig(TaskConfig):
    """`generations` is the rollouts of a task that are one group, `limits` those of each episode."""

    generations: int = 1
    limits: dict[str, Any] = Field({})


class FarmTasksetConfig(TasksetConfig):
    """Which tasks, on the farm at ENVFARM_URL with ENVFARM_TOKEN."""

    kind: str | None = None
    dataset: str | None = None
    split: str | None = None
    tools: SharedToolsetConfig = SharedToolsetConfig()
    task: FarmTaskConfig = FarmTaskConfig()


class FarmTask(Task[FarmData, FarmState, FarmTaskConfig]):
    """One task; each rollout is an episode, held until it is scored or its trace is forgotten."""

    _episodes: ClassVar[dict[str, SyncEpisode]] = {}

    async def setup(self, trace: Trace, runtime: Runtime) -> None:
        """Begin the episode, without waiting for its sandbox; its messages are the prompt. Raises ClientError."""
        data: FarmData = trace.task.data
        name = data.farm_task
        place = groups_of(self.config.generations).place(name)
        farm = await asyncio.to_thread(shared_farm)
        [episode] = await asyncio.to_thread(farm.create, name, limits=self.config.limits, **place)
        self._episodes[trace.id] = episode
        # A rollout that failed is not scored.
        weakref.finalize(trace, _forget, self._episodes, trace.id)
        trace.state.episode, trace.state.tools = episode.id, episode.tools
        said: dict[str, list[str]] = defaultdict(list)
        for message in episode.messages:
            said[message.role].append(message.content)
        system = "\n\n".join(said["system"]) or data.system_prompt
        trace.task.data = data.model_copy(update={"prompt": "\n\n".join(said["user"]), "system_prompt": system})

    @stop
    async def ended(self, trace: Trace) -> bool:
        """Whether the episode is over."""
        return bool(trace.state.over or trace.state.lost)

    @reward(weight=1.0)
    async def farm(self, trace: Trace) -> float:
        """What the farm gives. Raises NullReward, ClientError, RuntimeError: then the rollout has an error and no 0."""
        episode = self._episodes[trace.id]
        try:
            if trace.state.lost:
                raise RuntimeError(f"the farm failed episode {episode.id}: {trace.state.lost}")
            earned = await asyncio.to_thread(episode.reward)
        finally:
            await asyncio.to_thread(close, episode)
            self._episodes.pop(trace.id, None)
        trace.record_metrics({f"farm/{name}": value for name, value in earned.parts.items()})
        return earned.value


def _forget(episodes: dict[str, SyncEpisode], trace: str) -> None:
    if (episode := episodes.pop(trace, None)) is not None:
        close_aside(episode)


class FarmToolset(Toolset[SharedToolsetConfig, FarmState]):
    """The tools of whichever episode the calling rollout plays."""

    TOOL_PREFIX = None

    async def setup(self) -> None:
        """Open the connection to the farm."""
        self._client = Client(farm_url(), token=farm_token(), patience=PATIENCE)
        await self._exit_stack.enter_async_context(self._client)
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def register(self, mcp: MCPServer) -> None:
        """Serve what the state says, as verifiers' own toolset for NeMo Gym does."""
        server = cast("Any", mcp)
        server.list_tools = self._with_state(self.list_tools)
        server.call_tool = self._with_state(self.call_tool)

    async def list_tools(self) -> list[Tool]:
        """The episode's tools."""
        functions = [one["function"] for one in self.state.tools]
        return [Tool(name=f["name"], description=f["description"], input_schema=f["parameters"]) for f in functions]

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> CallToolResult:
        """One turn. What the farm did wrong is not said to the model; it ends the rollout without a reward."""
        async with self._turns[self.state.episode]:  # calls beside each other are turns after each other
            try:
                step = await self._client.step(self.state.episode, [{"name": name, "arguments": arguments}])
            except Gone:  # by a limit, or else the reward will say
                self.state.over = True
                return _result(OVER, False)
            except ClientError as error:
                self.state.lost = str(error)
                return _result(OVER, False)
        self.state.over = step["terminated"] or step["truncated"]
        [result] = step["results"]
        return _result(result["content"], result["is_error"])


def _result(text: str, is_error: bool) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)


class FarmTaskset(Taskset[FarmTask, FarmTasksetConfig]):
    """The farm's tasks of a kind, a dataset, a split."""

    @classmethod
    def toolsets(cls, config: FarmTasksetConfig) -> list[Toolset]:
        """The one that serves every rollout."""
        return [FarmToolset(config.tools)]

    def load(self) -> Iterator[FarmTask]:
        """One for each task, by id. Raises ClientError."""
        wanted = {"kind": self.config.kind, "dataset": self.config.dataset, "split": self.config.split}
        for task in shared_farm().tasks(**wanted):
            data = FarmData(id=task.id, name=task.id, prompt="", farm_task=task.id)  # the prompt comes with the episode
            yield FarmTask(data, self.config.task)


if __name__ == "__main__":
    FarmToolset.run()
