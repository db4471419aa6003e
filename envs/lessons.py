"""What the task's own solution teaches of its tests, learned once for each task: solo tests, and wrong values.

A line-up runs a test's body several times in one process, and under other names. A test that does not bear that, a solo
test, fails on the best of changes; and where a test compares with no plain value, none can say which value of it makes
a decoy. No run without the solution can tell.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from envfarm.envs.base import ScoreContext
from envfarm.envs.canaries.base import Swap
from envfarm.envs.changes import BUILT, Changes, TooLarge, compare
from envfarm.envs.pristine import Pristine, digest
from envfarm.envs.trees import fetch_tree
from envfarm.tasks.solution import solution
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import TaskError
from envfarm.toolbox.sandboxes.base import SandboxSpec

KEPT = 4096  # tasks whose lessons are remembered

Solve = Callable[[], Awaitable[Changes | None]]
"""What the task's solution changes, None where there is none."""

T = TypeVar("T")


@dataclass(slots=True)
class Once(Generic[T]):
    """Something that is found out once; until then what it is taken to be."""

    value: T
    known: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def learn(self, find: Callable[[], Awaitable[T]]) -> T:
        """Find it out, unless somebody did. Raises what `find` raises, and is not known then."""
        async with self._lock:
            if not self.known:
                self.value = await find()
                self.known = True
            return self.value


@dataclass(slots=True)
class Lesson:
    """What is known of one task's tests."""

    solo: Once[frozenset[str]] = field(default_factory=lambda: Once(frozenset()))  # tests that no line-up can hold
    swaps: Once[Mapping[str, Sequence[Swap]]] = field(default_factory=lambda: Once({}))  # wrong values, by test


class Lessons:
    """The lessons of the tasks scored last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Lesson] = OrderedDict()

    def of(self, task: Task) -> Lesson:
        """That of one task."""
        found = self._kept.setdefault(task.digest, Lesson())
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
