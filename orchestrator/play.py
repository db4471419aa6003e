"""Plays one episode in this process: no server, no store. What `tasks validate` and the task factory use."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from envfarm.envs.base import Images, Reward, ScoreContext, environment
from envfarm.orchestrator.schemas import Call
from envfarm.tasks.spec import Task
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.prepare import start_prepared
from envfarm.toolbox.sandboxes.base import Backend, Sandbox, SandboxSpec
from envfarm.toolbox.tools.base import ToolContext, ToolResult
from envfarm.toolbox.tools.call import call_tool

_TIMEOUT = 1800.0  # seconds for one call where the task sets no time for its agent


@dataclass(frozen=True, slots=True)
class Played:
    """An episode that was played to its end."""

    reward: Reward
    results: list[ToolResult]
    seconds: float


class Player:
    """Plays episodes on a back end, whose sandboxes carry the label `owner`."""

    def __init__(self, backend: Backend, images: Images, artifacts: Artifacts, *, owner: str) -> None:
        self.images = images
        self.artifacts = artifacts
        self._backend = backend
        self._owner = owner

    async def play(self, task: Task, calls: Sequence[Call]) -> Played:
        """Start a task, make the calls until one finishes it, and score. Raises FarmError."""
        started = time.monotonic()
        env = environment(task.kind)
        tools = env.tools(task)
        spec = await env.spec(task, self.images)
        results: list[ToolResult] = []
        async with self._fresh(spec) as sandbox:
            await env.start(task, sandbox)
            for number, call in enumerate(calls):
                context = ToolContext(
                    sandbox=sandbox,
                    artifacts=self.artifacts,
                    command_id=f"call-{number}",
                    timeout=task.config.agent.timeout_sec or _TIMEOUT,
                    user=spec.user,
                    cwd=spec.workdir,
                )
                results.append(await call_tool(tools, call.name, call.arguments, context))
                if results[-1].finished:
                    break
            answer = results[-1].answer if results else None
            score = ScoreContext(sandbox, self._fresh, self.images, self.artifacts, answer)
            score.saved = await env.collect(task, score)
            reward = await env.score(task, score)
        return Played(reward, results, time.monotonic() - started)

    @asynccontextmanager
    async def _fresh(self, spec: SandboxSpec) -> AsyncIterator[Sandbox]:
        sandbox = await start_prepared(self._backend, spec, owner=self._owner, lease=f"play-{uuid.uuid4().hex[:12]}")
        try:
            yield sandbox
        finally:
            await sandbox.close()
