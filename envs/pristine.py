"""What the verifier's image holds before anybody changes it: read in a sandbox of its own, once for each image."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

from envfarm.envs.base import FreshSandboxes
from envfarm.envs.changes import BUILT, Entry
from envfarm.envs.trees import fetch_tree
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import SandboxError
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec

TESTS = "/verifier/tests"
"""Where the verifier's image keeps the task's test files, by their paths in the repository; root's alone."""

KEPT = 256 << 20  # bytes of files that are kept in memory


@dataclass(frozen=True, slots=True)
class Pristine:
    """The repository as the agent found it, and the task's tests; empty when the repository's own are the task's."""

    tree: Mapping[str, Entry]
    tests: Mapping[str, Entry]
    digests: Mapping[str, str]  # of the tree
    size: int  # bytes of all files


class PristineTrees:
    """Reads verifier images and remembers those used last, as far as KEPT goes.

    No sandbox in which tests run serves this: what happened in it before would tell one run from another.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, str | None], Pristine] = OrderedDict()
        # a group ends at once, with one image; weak: a lock is there as long as somebody holds it or waits for it
        self._reading: WeakValueDictionary[tuple[str, str, str | None], asyncio.Lock] = WeakValueDictionary()

    async def read(self, task: Task, spec: SandboxSpec, fresh: FreshSandboxes) -> Pristine:
        """What the image of `spec` holds. Raises SandboxError."""
        farm = task.config.envfarm
        key = (spec.image, farm.repository, farm.runner)
        lock = self._reading.setdefault(key, asyncio.Lock())
        async with lock:
            found = self._kept.get(key)
            if found is None:
                found = self._kept[key] = await _read(task, spec, fresh)
            self._kept.move_to_end(key)
            while sum(kept.size for kept in self._kept.values()) > KEPT:
                self._kept.popitem(last=False)
        return found


async def _read(task: Task, spec: SandboxSpec, fresh: FreshSandboxes) -> Pristine:
    farm = task.config.envfarm
    async with fresh(spec) as sandbox:
        try:
            tree = await fetch_tree(sandbox, farm.repository, skip=BUILT.get(farm.runner or "", ()))
            tests = await _tests(sandbox)
        except ValueError as error:
            raise SandboxError(f"the verifier's image has no repository: {error}") from None
    digests = await asyncio.to_thread(lambda: {path: digest(entry) for path, entry in tree.items()})
    return Pristine(tree, tests, digests, sum(len(entry.data) for entry in (*tree.values(), *tests.values())))


async def _tests(sandbox: Sandbox) -> Mapping[str, Entry]:
    try:
        return await fetch_tree(sandbox, TESTS)
    except ValueError:
        return {}


def digest(entry: Entry) -> str:
    """Tells entries apart without keeping them."""
    return f"{entry.kind} {entry.executable:d} {hashlib.sha256(entry.data).hexdigest()}"
