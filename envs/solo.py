"""Solo tests: those that cannot stand in a line-up, found by what the task's own solution makes of line-ups.

A line-up runs a test's body several times in one process, and under other names. A test that does not bear that fails
on the best of changes, which no run without the solution can tell from a change that is wrong.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from envfarm.envs.base import ScoreContext
from envfarm.envs.changes import BUILT, Changes, TooLarge, compare
from envfarm.envs.pristine import Pristine, digest
from envfarm.envs.trees import fetch_tree
from envfarm.tasks.solution import solution
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import TaskError
from envfarm.toolbox.sandboxes.base import SandboxSpec

KEPT = 4096  # tasks whose solo tests are remembered

Solve = Callable[[], Awaitable[Changes | None]]
"""What the task's solution changes, None where there is none."""

Try = Callable[[Changes], Awaitable[frozenset[str]]]
"""Runs every expected test in a line-up on a change; the tests whose true versions did not come out as they must."""


@dataclass(slots=True)
class Solo:
    """The solo tests of one task; none until somebody asked."""

    tests: frozenset[str] = frozenset()
    known: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def learn(self, solve: Solve, attempt: Try) -> None:
        """Find them, once for all. Raises SandboxError."""
        async with self._lock:
            if self.known:
                return
            changes = await solve()
            if changes is not None:
                self.tests = await attempt(changes)
            self.known = True


class Solos:
    """The solo tests of the tasks scored last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Solo] = OrderedDict()

    def of(self, task: Task) -> Solo:
        """Those of one task."""
        found = self._kept.setdefault(task.digest, Solo())
        self._kept.move_to_end(task.digest)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found


async def solved(task: Task, pristine: Pristine, spec: SandboxSpec, context: ScoreContext) -> Changes | None:
    """What the task's solution changes in the sandbox that an agent gets; None when it has none, or none that works.

    Raises SandboxError.
    """
    try:
        command = solution(task)
    except TaskError:
        return None
    farm = task.config.envfarm
    async with context.fresh(spec.model_copy(update={"entrypoint": False})) as sandbox:
        result = await sandbox.run(command, timeout=task.config.agent.timeout_sec or 600.0)
        if result.exit_code != 0:
            return None
        try:
            tree = await fetch_tree(sandbox, farm.repository, skip=BUILT.get(farm.runner or "", ()))
        except (TooLarge, ValueError):
            return None
    changes = compare(pristine.digests, tree, digest=digest)
    return None if changes.problem else changes
