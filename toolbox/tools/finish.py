"""The `finish` tool: the model says that it is done."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from envfarm.toolbox.tools.base import ToolContext, ToolResult


class FinishArguments(BaseModel):
    """Arguments of `finish`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    answer: str | None = Field(None, description="Your answer, where the task asks for one.")


class Finish:
    """Ends the episode and starts scoring."""

    name: ClassVar[str] = "finish"
    description: ClassVar[str] = "End the task. Call it once, when the work is done: it is scored as you left it."
    Arguments: ClassVar[type[BaseModel]] = FinishArguments

    async def call(self, arguments: Any, context: ToolContext) -> ToolResult:
        """Nothing happens in the sandbox."""
        return ToolResult(content="The task has ended.", finished=True, answer=arguments.answer)
