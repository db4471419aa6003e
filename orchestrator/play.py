"""Plays one episode in this process, without a server or a store: for validation, replay and the shell."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from envfarm.envs.base import NO_SERVICES, Environment, Images, Reward, ScoreContext, Services, environment
from envfarm.envs.judge.opinion import judged
from envfarm.orchestrator.schemas.episodes import Call
from envfarm.orchestrator.settings import Settings
from envfarm.tasks.spec import Task
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.prepare import start_prepared
from envfarm.toolbox.sandboxes.base import Backend, Sandbox, SandboxSpec
from envfarm.toolbox.tools.base import State, ToolContext, ToolResult
from envfarm.toolbox.tools.call import call_tool

OUTPUT_LIMIT = Settings().output_limit
KEPT_OUTPUTS = Settings().kept_outputs
_TIMEOUT = 1800.0  # seconds for one call where the task sets no time for its agent


@dataclass(frozen=True, slots=True)
class Played:
    """An episode that was played to its end."""

    reward: Reward
    results: list[ToolResult]
    seconds: float


class Playing:
    """An episode that is being played."""

    def __init__(self, player: Player, task: Task, env: Environment, sandbox: Sandbox | None) -> None:
        self.sandbox = sandbox
        self.results: list[ToolResult] = []
        self.state: State = {}
        self._player, self._task, self._env = player, task, env
        self._tools = env.tools(task)

    async def call(
        self,
        call: Call,
        *,
        timeout: float | None = None,
        output_limit: int = OUTPUT_LIMIT,
        kept_outputs: int = KEPT_OUTPUTS,
    ) -> ToolResult:
        """Make one tool call; `timeout` is in seconds. Raises SandboxError."""
        artifacts = self._player.artifacts
        kept = sum(artifacts.size(result.artifacts.values()) for result in self.results)
        context = ToolContext(
            leased=self.sandbox,
            artifacts=artifacts,
            command_id=f"call-{len(self.results)}",
            timeout=timeout or self._task.config.agent.timeout_sec or _TIMEOUT,
            output_limit=output_limit,
            user=None if self.sandbox is None else self.sandbox.spec.user,
            cwd=None if self.sandbox is None else self.sandbox.spec.workdir,
            room=kept_outputs - kept,
            retrievers=self._player.services.retrievers,
            state=self.state,
        )
        result = await call_tool(self._tools, call.name, call.arguments, context)
        self.state = self.state if result.state is None else result.state
        self.results.append(result)
        return result

    async def score(self) -> Reward:
        """The reward for what the sandbox holds now. Raises FarmError."""
        player = self._player
        context = ScoreContext(
            sandbox=self.sandbox,
            fresh=player.fresh,
            images=player.images,
            artifacts=player.artifacts,
            answer=self.results[-1].answer if self.results else None,
            state=self.state,
            services=player.services,
        )
        context.saved = await self._env.collect(self._task, context)
        return await self._env.score(self._task, context)


class Player:
    """Plays episodes on a back end, whose sandboxes carry the label `owner`."""

    def __init__(
        self,
        backend: Backend,
        images: Images,
        artifacts: Artifacts,
        *,
        owner: str,
        services: Services = NO_SERVICES,
    ) -> None:
        self.services = services
        self.images = images
        self.artifacts = artifacts
        self.backend = backend
        self.owner = owner

    async def play(self, task: Task, calls: Sequence[Call]) -> Played:
        """Start a task, make the calls until one finishes it, and score. Raises FarmError."""
        started = time.monotonic()
        async with self.start(task) as playing:
            for call in calls:
                if (await playing.call(call)).finished:
                    break
            reward = await playing.score()
        return Played(reward, playing.results, time.monotonic() - started)

    @asynccontextmanager
    async def start(self, task: Task) -> AsyncIterator[Playing]:
        """The task, waiting for its first call, in a sandbox where it needs one. Raises FarmError."""
        env = judged(environment(task.kind, task.path), task)
        env.check(task, self.services)
        spec = await env.spec(task, self.images)
        if spec is None:
            yield Playing(self, task, env, None)
            return
        async with self.fresh(spec) as sandbox:
            await env.start(task, sandbox)
            yield Playing(self, task, env, sandbox)

    @asynccontextmanager
    async def fresh(self, spec: SandboxSpec) -> AsyncIterator[Sandbox]:
        """A sandbox of its own, closed at the end of the block. Raises SandboxError."""
        sandbox = await start_prepared(self.backend, spec, owner=self.owner, lease=f"play-{uuid.uuid4().hex[:12]}")
        try:
            yield sandbox
        finally:
            await sandbox.close()
