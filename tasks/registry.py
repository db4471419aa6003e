"""Every task that a farm knows: the folders below its roots that hold a `task.toml`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal

from envfarm.tasks.folder import load
from envfarm.tasks.spec import NetworkMode, Task
from envfarm.toolbox.errors import NotFound, TaskError
from envfarm.toolbox.sandboxes.base import Isolation

DefaultNetwork = Literal["none", "public"]

_MODES: dict[DefaultNetwork, NetworkMode] = {"none": "no-network", "public": "public"}


def samples() -> Path:
    """The folder of the tasks that the package ships."""
    return Path(str(files("envfarm.tasks"))) / "samples"


def discover(root: Path) -> dict[str, Path]:
    """The task folders at or below a root by their ids: the path below it, with `/`; the root's own name for itself.

    A folder without task.toml that has a task's other files is among them: it is a broken task.
    Raises TaskError when there is no such folder.
    """
    if not root.is_dir():
        raise TaskError(f"{root}: no such folder; name a task's folder or one that holds some")
    found: dict[str, Path] = {}
    for place, folders, names in os.walk(root):
        if {"task.toml", "task.yaml"} & {*names} or (
            "instruction.md" in names and {"environment", "tests"} & {*folders}
        ):
            path = Path(place)
            found[root.resolve().name if path == root else path.relative_to(root).as_posix()] = path
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return found


class Registry:
    """Tasks by id, read when first asked for. A broken folder is an error of that task alone.

    `isolation` and `network` are those of tasks that ask for none.
    Raises TaskError when a root is missing or two folders have one id.
    """

    def __init__(
        self, roots: Sequence[Path] = (), *, isolation: Isolation = "runc", network: DefaultNetwork = "none"
    ) -> None:
        self._isolation: Isolation = isolation
        self._network = _MODES[network]
        self._paths: dict[str, Path] = {}
        self._tasks: dict[str, Task] = {}
        for root in roots:
            for id, path in discover(root).items():
                self.add(id, path)

    def add(self, id: str, path: Path) -> None:
        """Add one task folder under an id. Raises TaskError when the id is taken by another folder."""
        if self._paths.setdefault(id, path) != path:
            raise TaskError(f"{path}: {self._paths[id]} is called {id!r} too; rename one of the two folders")

    def get(self, id: str) -> Task:
        """The task of an id. Raises NotFound with the nearest id, TaskError when its folder is broken."""
        if id not in self._paths:
            near = difflib.get_close_matches(id, self._paths, 1)
            hint = f"did you mean {near[0]!r}?" if near else "see `envfarm tasks list`"
            raise NotFound(f"no task {id!r}; {hint}")
        if id not in self._tasks:
            self._tasks[id] = self._with_defaults(load(self._paths[id], id=id))
        return self._tasks[id]

    def _with_defaults(self, task: Task) -> Task:
        config = task.config
        if config.envfarm.isolation is None:
            table = config.envfarm.model_copy(update={"isolation": self._isolation})
            config = config.model_copy(update={"envfarm": table})
        if config.environment.network_mode is None and config.environment.allow_internet is None:
            environment = config.environment.model_copy(update={"network_mode": self._network})
            config = config.model_copy(update={"environment": environment})
        return task.model_copy(update={"config": config})

    def all(self) -> list[Task]:
        """Every task that can be read, by id."""
        return list(self)

    def errors(self) -> dict[str, TaskError]:
        """Why the other ones cannot be read, by id."""
        broken: dict[str, TaskError] = {}
        for id in self.ids():
            try:
                self.get(id)
            except TaskError as error:
                broken[id] = error
        return broken

    def ids(self) -> list[str]:
        """Every id, those of broken folders too, sorted."""
        return sorted(self._paths)

    def __iter__(self) -> Iterator[Task]:
        broken = self.errors()
        return iter([self.get(id) for id in self.ids() if id not in broken])

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, id: object) -> bool:
        return id in self._paths
