"""A tool: a name, a description, a JSON schema and one call on a sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import SandboxError
from envfarm.toolbox.sandboxes.base import Sandbox
from envfarm.toolbox.search.base import Retrievers

SESSION = "agent"
"""The session in which an agent's commands run."""

State = dict[str, Any]
"""What an episode's tools keep from call to call: JSON, stored with each step, a key for each who keeps something."""


@dataclass(slots=True)
class ToolContext:
    """What a call may use. One per call."""

    leased: Sandbox | None  # None where the task needs none
    artifacts: Artifacts
    command_id: str  # at-most-once id of this call, stable over retries and restarts
    timeout: float  # seconds, what is left of the limits on the call and the episode
    output_limit: int  # bytes of each stream that the model is shown
    user: str | None = None
    cwd: str | None = None  # where the session starts
    resumed: bool = False  # an earlier farm process began this call; finish it, do not repeat it
    session: str = SESSION
    room: int | None = None  # bytes of whole outputs that may still be kept as artefacts; None: any number
    retrievers: Retrievers | None = None  # the corpora that the farm serves
    state: State = field(default_factory=dict)  # what the tools keep of this episode; give a changed one in the result

    @property
    def sandbox(self) -> Sandbox:
        """The episode's sandbox. Raises SandboxError where it has none."""
        if self.leased is None:
            raise SandboxError("this task has no sandbox, and offers a tool that needs one; that is the task's fault")
        return self.leased


@dataclass(slots=True)
class ToolResult:
    """What the model is told; `is_error` marks a mistake of the model, faults of the farm are raised."""

    content: str
    is_error: bool = False
    exit_code: int | None = None
    truncated: bool = False
    timed_out: bool = False
    seconds: float = 0.0
    finished: bool = False  # the episode ends here and is scored
    answer: str | None = None  # of `finish`
    artifacts: dict[str, str] = field(default_factory=dict)  # name to digest, e.g. the whole of a cut output
    state: State | None = None  # what the tools keep of the episode from now on; None: what they kept before


class Tool(Protocol):
    """One thing that the model can do. Stateless: the state is in the sandbox, or in `State`."""

    name: ClassVar[str]
    description: ClassVar[str]
    Arguments: ClassVar[type[BaseModel]]  # extra keys forbidden; field descriptions are the model's documentation

    async def call(self, arguments: Any, context: ToolContext) -> ToolResult:
        """Act on the sandbox. `arguments` is an instance of Arguments. Raises SandboxError."""
