"""Terminal tasks: a Harbor folder, played in its image and scored by its own tests.

The tests run where the agent never was: its changes are carried as data into a fresh sandbox of the same image (see
`carry`). A task that asks for a separate verifier gets its declared artefacts there and nothing else; a task whose
services must live is tested in the agent's own sandbox.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from envfarm.envs.base import TAKEN_DOWN, Images, Message, Reward, ScoreContext, Services
from envfarm.envs.carry import BROKEN, CARRY_LIMIT, Carried, carry, carry_artifacts
from envfarm.envs.carry_policy import NEVER, Policy, below
from envfarm.envs.harbor import agent_spec, verifier_spec, wait_healthy
from envfarm.envs.harbor_tests import TestRun, apply, run_tests, untouched
from envfarm.envs.take import NAMES_LIMIT, can_take, split_names, take_changes, take_paths
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import SandboxError, SandboxLost, TaskError
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec
from envfarm.toolbox.tools.base import Tool
from envfarm.toolbox.tools.bash import Bash
from envfarm.toolbox.tools.finish import Finish
from envfarm.toolbox.tools.str_replace import StrReplace

log = logging.getLogger(__name__)

_FOLDERS = "mkdir -p /logs/agent /logs/artifacts /logs/verifier && chmod 777 /logs/agent /logs/artifacts"
_TRIES = 2  # fresh sandboxes, where the tests leave no reward


class TerminalEnvironment:
    """Plays and scores terminal tasks."""

    kind = "terminal"

    def check(self, task: Task, services: Services) -> None:
        """It needs none."""

    def tools(self, task: Task) -> list[Tool]:
        """`bash`, `str_replace` and `finish`."""
        return [Bash(), StrReplace(), Finish()]

    def messages(self, task: Task) -> list[Message]:
        """The instruction, as it is."""
        return [Message(role="user", content=task.instruction)]

    async def spec(self, task: Task, images: Images) -> SandboxSpec:
        """The task's own image, user, network and limits."""
        return agent_spec(task, await images.agent(task), setup=_FOLDERS)

    async def start(self, task: Task, sandbox: Sandbox) -> None:
        """Wait for the task's health check. Raises SandboxError."""
        if task.config.environment.healthcheck is not None:
            await wait_healthy(sandbox, task.config.environment.healthcheck)

    def needs_sandbox(self, task: Task) -> bool:
        """Only a task whose services must live is scored in the agent's sandbox."""
        return _live(task)

    async def collect(self, task: Task, context: ScoreContext) -> dict[str, str]:
        """Stop what the agent left running, and take its files. Raises SandboxError."""
        if _live(task):
            return {}
        sandbox = context.agents()
        await sandbox.kill_all()
        if task.config.verifier.separate:
            return await take_paths(sandbox, [entry.source for entry in _declared(task)], context.artifacts)
        return await take_changes(sandbox, context.artifacts)

    async def score(self, task: Task, context: ScoreContext) -> Reward:
        """Run the tests. Raises SandboxError."""
        if _live(task):
            run = await run_tests(task, context.agents(), context.artifacts, live=True)
            return run.reward({})
        if too_much := _too_much(context):
            return Reward(value=0.0, reason=too_much)
        run = TestRun()
        lost = 0
        for _ in range(_TRIES):
            try:
                run = await self._score_fresh(task, context)
            except SandboxLost as error:
                if error.cause not in TAKEN_DOWN:
                    raise
                log.warning("%s: the tests' sandbox was lost: %s", task.id, error)
                lost += 1
                continue
            if run.value is not None:
                break
        if lost == _TRIES:
            await self._score_fresh(task, context, work=False)  # where that goes well, it is the work that does it
            return Reward(value=0.0, evidence=dict(context.saved), reason="the work takes the tests' sandbox down")
        return run.reward(context.saved)

    async def _score_fresh(self, task: Task, context: ScoreContext, *, work: bool = True) -> TestRun:
        """Run the tests on the agent's work, or on what it began with."""
        separate = task.config.verifier.separate
        image = await (context.images.verifier(task) if separate else context.images.agent(task))
        async with context.fresh(verifier_spec(task, image)) as sandbox:
            tree = await untouched(sandbox)
            if separate:
                policy = Policy(tree, only=tuple(entry.destination for entry in _declared(task)))
            else:
                policy = Policy(tree, allow=task.config.envfarm.carry)
            carried = await asyncio.to_thread(_sift, task, context, policy)
            if BROKEN in carried.refused and not await can_take(sandbox):
                raise SandboxError(f"{image} has no `tar`, `find` or `xargs` that could take the agent's work")
            if work:
                await apply(sandbox, carried)
            run = await run_tests(task, sandbox, context.artifacts, wipe=not separate)
        refused = {path: why for path, why in carried.refused.items() if not any(below(path, root) for root in NEVER)}
        if refused:
            listed = json.dumps(refused, indent=1, sort_keys=True).encode("utf-8", "backslashreplace")
            run.evidence["not_carried"] = await asyncio.to_thread(context.artifacts.put, listed)
        return run


def _live(task: Task) -> bool:
    """Whether it is tested in the agent's sandbox; `tasks.folder` sees to it that such an agent is not root."""
    return task.config.envfarm.services_survive and not task.config.verifier.separate


def _too_much(context: ScoreContext) -> str | None:
    if context.artifacts.path(context.saved["changes"]).stat().st_size > CARRY_LIMIT:
        return f"the agent left more than {CARRY_LIMIT >> 20} MiB of changes behind"
    if "present" in context.saved and context.artifacts.path(context.saved["present"]).stat().st_size > NAMES_LIMIT:
        return f"the agent left more files behind than {NAMES_LIMIT >> 20} MiB of names"
    return None


def _sift(task: Task, context: ScoreContext, policy: Policy) -> Carried:
    source = context.artifacts.get(context.saved["changes"])
    if task.config.verifier.separate:
        return carry_artifacts(source, partial(_crossing, _declared(task)), policy)
    return carry(source, split_names(context.artifacts.get(context.saved["present"])), policy)


@dataclass(frozen=True)
class _Declared:
    """One of the task's `artifacts`."""

    source: str
    destination: str
    exclude: tuple[str, ...] = ()


def _declared(task: Task) -> list[_Declared]:
    """What crosses to a separate verifier. Raises TaskError."""
    found = [_Declared("/logs/artifacts", "/logs/artifacts")]
    for entry in task.config.artifacts:
        table: dict[str, Any] = {"source": entry} if isinstance(entry, str) else entry
        source = str(table.get("source", "")).rstrip("/")
        if not source.startswith("/"):
            raise TaskError(
                f"task.toml: artifacts: {entry!r} must be an absolute path, or a table with such a `source`"
            )
        destination = str(table.get("destination") or "").rstrip("/")
        # Harbor's destination is a place among its own results; only an absolute one is meant for the verifier.
        place = destination if destination.startswith("/") else source
        found.append(_Declared(source, place, tuple(str(glob) for glob in table.get("exclude", ()))))
    return found


def _crossing(declared: Sequence[_Declared], path: str) -> str | None:
    """Where an artefact's file lies in the verifier; None for one that does not cross."""
    for entry in declared:
        if below(path, entry.source):
            inner = path[len(entry.source) :]
            names = (inner.lstrip("/"), path.rpartition("/")[2])
            if any(fnmatchcase(name, glob) for name in names for glob in entry.exclude):
                return None
            return entry.destination + inner
    return None


ENVIRONMENT = TerminalEnvironment
