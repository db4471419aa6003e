"""A tool: a name, a description, a JSON schema and one call on a sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.sandboxes.base import Sandbox

SESSION = "agent"
"""The session in which an agent's commands run."""


@dataclass(slots=True)
class ToolContext:
    """What a call may use. One per call."""

    sandbox: Sandbox
    artifacts: Artifacts
    command_id: str  # at-most-once id of this call, stable over retries and restarts
    timeout: float  # seconds, what is left of the limits on the call and the episode
    output_limit: int  # bytes of each stream that the model is shown
    user: str | None = None
    cwd: str | None = None  # where the session starts
    resumed: bool = False  # an earlier farm process began this call; finish it, do not repeat it
    session: str = SESSION
    room: int | None = None  # bytes of whole outputs that may still be kept as artefacts; None: any number


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


class Tool(Protocol):
    """One thing that the model can do. Stateless: the state is in the sandbox."""

    name: ClassVar[str]
    description: ClassVar[str]
    Arguments: ClassVar[type[BaseModel]]  # extra keys forbidden; field descriptions are the model's documentation

    async def call(self, arguments: Any, context: ToolContext) -> ToolResult:
        """Act on the sandbox. `arguments` is an instance of Arguments. Raises SandboxError."""
