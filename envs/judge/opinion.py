"""A judge's opinion as one named part of any task's reward: an environment that asks it after the tests.

`R = T · ((1 - w) + w · O)`: T is what the environment itself gives, O the judge's score, w the weight of the task's
`[envfarm.rubric]`. So an opinion can take from a reward, and never give to work that earned nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from envfarm.envs.base import Environment, Images, Message, Reward, ScoreContext, Services
from envfarm.tasks.rubric import RubricTable
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import FileProblem, TaskError
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec
from envfarm.toolbox.tools.base import Tool

LIMIT = 64 << 10
"""Bytes of one file, or characters of an answer, that a judge is shown."""

_TEXT = "judged"  # the name under which what is judged is saved


def judged(env: Environment, task: Task) -> Environment:
    """The environment of a task: one that asks the judge too, where the task has a rubric."""
    table = task.config.envfarm.rubric
    return env if table is None else Judged(env, table)


class Judged:
    """An environment whose reward a judge's opinion is a part of; all else is as the environment has it."""

    def __init__(self, env: Environment, table: RubricTable) -> None:
        self.env = env
        self.table = table
        self.kind = env.kind

    def check(self, task: Task, services: Services) -> None:
        """A rubric that is `required` needs a judge. Raises TaskError."""
        if self.table.required and services.judge is None:
            raise TaskError(
                f"{task.path / 'task.toml'}: [envfarm.rubric] required: this farm has no judge; set judge.url and "
                "judge.model, or let the task be scored without it"
            )
        self.env.check(task, services)

    def tools(self, task: Task) -> list[Tool]:
        """Its own."""
        return self.env.tools(task)

    def messages(self, task: Task) -> list[Message]:
        """Its own."""
        return self.env.messages(task)

    async def spec(self, task: Task, images: Images) -> SandboxSpec | None:
        """Its own."""
        return await self.env.spec(task, images)

    async def start(self, task: Task, sandbox: Sandbox) -> None:
        """Its own."""
        await self.env.start(task, sandbox)

    def needs_sandbox(self, task: Task) -> bool:
        """Its own: what is judged is saved before."""
        return self.env.needs_sandbox(task)

    async def collect(self, task: Task, context: ScoreContext) -> dict[str, str]:
        """Save what is judged too. Raises SandboxError."""
        saved = await self.env.collect(task, context)
        if not self.table.files:
            return saved
        text = await _read(context.agents(), self.table.files)
        return saved | {_TEXT: await asyncio.to_thread(context.artifacts.put, text.encode("utf-8", "replace"))}

    async def score(self, task: Task, context: ScoreContext) -> Reward:
        """The environment's reward, less what the judge misses. Raises FarmFault."""
        reward = await self.env.score(task, context)
        if not reward.value:
            return reward
        judge = context.services.judge
        if judge is None:
            return _because(reward, "no judge is set, so its rubric does not count")
        text = (context.answer or "")[:LIMIT]
        if _TEXT in context.saved:
            text = (await asyncio.to_thread(context.artifacts.get, context.saved[_TEXT])).decode()
        if not text.strip():
            return _with(reward, self.table.weight, 0.0, "there is nothing to judge")
        verdict = await judge.judge(self.table, request=task.instruction, text=text)
        evidence = {"verdict": await asyncio.to_thread(context.artifacts.put, verdict.model_dump_json().encode())}
        reward = reward.model_copy(update={"evidence": reward.evidence | evidence})
        why = None if verdict.injected is None else verdict.injected.of("what it made")
        return _with(reward, self.table.weight, verdict.score, why)


def _with(reward: Reward, weight: float, opinion: float, why: str | None) -> Reward:
    tests = reward.value or 0.0
    value = tests * (1 - weight + weight * opinion)
    counted = reward.model_copy(update={"value": value, "parts": reward.parts | {"tests": tests, "rubric": opinion}})
    return counted if why is None else _because(counted, why)


def _because(reward: Reward, why: str) -> Reward:
    return reward.model_copy(update={"reason": why if reward.reason is None else f"{reward.reason}; {why}"})


async def _read(sandbox: Sandbox, files: Sequence[str]) -> str:
    """Files as one text, each under its name; what cannot be shown is said in its place."""
    shown = []
    for path in files:
        try:
            text = (await sandbox.read(path, limit=LIMIT)).decode("utf-8", "replace")
        except FileProblem as problem:
            text = f"(more than {LIMIT >> 10} KiB)" if problem.reason == "space" else f"({problem.reason})"
        shown.append(f"=== {path} ===\n{text}\n")
    return "\n".join(shown)
