"""Images that were pushed to a registry for the tasks: the table of them, and who reads it instead of building."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import ImageError
from envfarm.toolbox.explain import explain


class PushedTask(BaseModel):
    """Which images one task has, by digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(description="its id, for readers")
    agent: str
    verifier: str


class PushedTable(BaseModel):
    """What `envfarm tasks push` writes and a server on a cluster reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: dict[str, dict[str, Any]] = Field({}, description="an image's configuration, which no cluster tells")
    tasks: dict[str, PushedTask] = Field({}, description="by the digest of the task's folder")

    @classmethod
    def read(cls, path: Path) -> PushedTable:
        """The table in a file. Raises ImageError, which names the fix."""
        fix = "write it with `envfarm tasks push REGISTRY`"
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ImageError(f"images: {path}: {error.strerror}; {fix}") from None
        except ValidationError as error:
            raise ImageError(f"images: {path}: no table of pushed images ({explain(error, cls)}); {fix}") from None

    def write(self, path: Path) -> None:
        """Replace the file, whole or not at all. Raises ImageError."""
        new = path.with_name(f"{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(self.model_dump_json(indent=1) + "\n")
            new.replace(path)
        except OSError as error:
            raise ImageError(
                f"{path}: the table cannot be written: {error.strerror}; name another with --into"
            ) from None

    def with_task(self, digest: str, task: PushedTask, images: dict[str, dict[str, Any]]) -> PushedTable:
        """The table with one more task; an earlier version of it goes, and so do images that nobody names any more."""
        tasks = {key: one for key, one in self.tasks.items() if one.task != task.task} | {digest: task}
        named = {image for one in tasks.values() for image in (one.agent, one.verifier)}
        known = {name: config for name, config in (self.images | images).items() if name in named}
        return PushedTable(
            images=dict(sorted(known.items())), tasks=dict(sorted(tasks.items(), key=lambda item: item[1].task))
        )


class PushedImages:
    """Gives tasks the images of the table, by digest; implements `Images` of envfarm.envs.base.

    A task's folder stands for its images by its digest: one that changed since has none, and is never played in others.
    Images that its task.toml names, and that nothing is built from, the cluster pulls by that name.
    """

    def __init__(self, table: PushedTable) -> None:
        self._table = table

    async def agent(self, task: Task) -> str:
        """The image that the agent works in. Raises ImageError: none was pushed."""
        return self._find(task).agent

    async def verifier(self, task: Task) -> str:
        """The image that the tests run in. Raises ImageError: none was pushed."""
        return self._find(task).verifier

    def _find(self, task: Task) -> PushedTask:
        found = self._table.tasks.get(task.digest) or _named(task)
        if found is not None:
            return found
        other = any(one.task == task.id for one in self._table.tasks.values())
        what = "the folder changed since its images were pushed" if other else "no images were pushed for it"
        raise ImageError(
            f"task {task.id}: {what}: run `envfarm tasks push REGISTRY {task.id}` and give the server the table that "
            "it writes (setting images)"
        )


def _named(task: Task) -> PushedTask | None:
    """The images of a task that needs no build."""
    agent, verifier = task.config.environment.docker_image, task.config.verifier.environment
    if not agent or (task.path / "tests" / "Dockerfile").is_file():
        return None
    return PushedTask(task=task.id, agent=agent, verifier=(verifier and verifier.docker_image) or agent)
