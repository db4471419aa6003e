"""The seam between the farm and a kind of task: `Environment`, and the `Reward` it gives."""

from __future__ import annotations

import difflib
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from pydantic import BaseModel, ConfigDict

from envfarm.envs.judge.judge import Judge
from envfarm.tasks.spec import Task
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import SandboxLost, TaskError
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec
from envfarm.toolbox.search.base import Retrievers
from envfarm.toolbox.tools.base import State, Tool

TAKEN_DOWN = ("oom", "killed")
"""Causes of a lost sandbox that may be the doing of what ran in it."""


class Reward(BaseModel):
    """What an episode earned: `value` is null, with a reason, when the farm could not tell."""

    model_config = ConfigDict(extra="forbid")

    value: float | None
    parts: dict[str, float] = {}
    evidence: dict[str, str] = {}  # name to digest
    reason: str | None = None  # why `value` is null, or why it is what it is, in one sentence


class Message(BaseModel):
    """One chat message that the episode starts with."""

    role: str
    content: str


class Images(Protocol):
    """Gives the images that a task's sandboxes start from; building is off the episode's critical path."""

    async def agent(self, task: Task) -> str:
        """The image that the agent works in. Raises ImageError."""

    async def verifier(self, task: Task) -> str:
        """The image that the tests run in; the agent's own when the task has no other. Raises ImageError."""


class FreshSandboxes(Protocol):
    """Hands out sandboxes that no agent has touched, for scoring."""

    def __call__(self, spec: SandboxSpec) -> AbstractAsyncContextManager[Sandbox]:
        """A new sandbox, closed at the end of the block. Raises SandboxError."""


@dataclass(frozen=True, slots=True)
class Services:
    """What all episodes of a farm share besides its sandboxes; None where the operator set none."""

    retrievers: Retrievers | None = None
    judge: Judge | None = None
    renderer: str = "envfarm/renderer:1"  # image that web pages are recorded in


NO_SERVICES = Services()


@dataclass(slots=True)
class ScoreContext:
    """What scoring may use. A job that was interrupted is run again with the same `saved` evidence."""

    sandbox: Sandbox | None  # the agent's own, None when it is gone, or was never needed
    fresh: FreshSandboxes
    images: Images
    artifacts: Artifacts
    answer: str | None = None  # what `finish` was given
    saved: dict[str, str] = field(default_factory=dict)  # digests that `collect` returned
    state: State = field(default_factory=dict)  # what the tools kept
    services: Services = NO_SERVICES

    def agents(self) -> Sandbox:
        """The agent's sandbox, for a kind that takes its work from there. Raises SandboxLost."""
        if self.sandbox is None:
            raise SandboxLost("the agent's sandbox was gone before its work was taken", cause="removed")
        return self.sandbox


class Environment(Protocol):
    """A kind of task. Stateless: what lasts is in the task, the sandbox and the store."""

    kind: str

    def check(self, task: Task, services: Services) -> None:
        """See that what a task needs of the farm's services is there, before it is begun. Raises TaskError."""

    def tools(self, task: Task) -> list[Tool]:
        """The tools that the model is offered."""

    def messages(self, task: Task) -> list[Message]:
        """What the model reads first; needs no sandbox, so that it is returned at once."""

    async def spec(self, task: Task, images: Images) -> SandboxSpec | None:
        """The sandbox that the agent works in, None where no tool needs one."""

    async def start(self, task: Task, sandbox: Sandbox) -> None:
        """Make a fresh sandbox ready for the first step; not called where there is none. Raises SandboxError."""

    def needs_sandbox(self, task: Task) -> bool:
        """Whether `score` works in the agent's own sandbox; if not, it is given back once `collect` returned."""

    async def collect(self, task: Task, context: ScoreContext) -> dict[str, str]:
        """Save from the agent's sandbox what scoring needs, as artefacts; stored before `score` is called.

        Once it returned, a restart of the farm or the loss of the sandbox does not change the reward.
        """

    async def score(self, task: Task, context: ScoreContext) -> Reward:
        """The reward. Raises FarmFault for a fault of the farm (it is tried again, then null), never gives 0 for it."""


class Move(NamedTuple):
    """A call that a policy without a model makes: a tool's name and arguments."""

    tool: str
    arguments: dict[str, Any]


@runtime_checkable
class Scripted(Protocol):
    """A kind whose solutions are calls of its own; that of others is the script solution/solve.sh, run by `bash`."""

    def solution(self, task: Task) -> list[Move]:
        """What earns the full mark. Raises TaskError where nothing is known to."""

    def wrong(self, task: Task) -> dict[str, list[Move]]:
        """What must earn nothing, by name."""


def environment(kind: str, folder: Path = Path()) -> Environment:
    """The environment of a kind: the module of that name in envfarm.envs, or an `envfarm.envs` entry point.

    Its module has a class `Environment` in the manner of its name (`SweEnvironment`) under the name `ENVIRONMENT`.
    Raises TaskError, which names the task's folder where it is given and the nearest kind.
    """
    for point in entry_points(group="envfarm.envs", name=kind):
        return cast(Environment, point.load()())
    module: Any = None
    try:
        module = import_module(f"envfarm.envs.{kind}")
    except ModuleNotFoundError as error:
        if error.name != f"envfarm.envs.{kind}":
            raise
    if not hasattr(module, "ENVIRONMENT"):
        known = _kinds()
        near = difflib.get_close_matches(kind, known, 1)
        advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise TaskError(f"{folder / 'task.toml'}: [envfarm] kind: no environment is called {kind!r}; {advice}")
    return cast(Environment, module.ENVIRONMENT())


def _kinds() -> list[str]:
    modules = [name for _, name, _ in iter_modules(import_module("envfarm.envs").__path__)]
    ours = {name for name in modules if hasattr(import_module(f"envfarm.envs.{name}"), "ENVIRONMENT")}
    return sorted(ours | {point.name for point in entry_points(group="envfarm.envs")})
