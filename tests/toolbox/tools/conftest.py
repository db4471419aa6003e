"""A sandbox for the tools, and calls on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend
from envfarm.toolbox.tools.base import ToolContext, ToolResult
from envfarm.toolbox.tools.bash import Bash
from envfarm.toolbox.tools.call import call_tool
from envfarm.toolbox.tools.finish import Finish
from envfarm.toolbox.tools.str_replace import StrReplace

Call = Callable[..., Awaitable[ToolResult]]


@pytest.fixture(params=["base", "busybox"])
async def sandbox(request: pytest.FixtureRequest, image: Callable[[str], str]) -> AsyncIterator[Sandbox]:
    backend = DockerBackend()
    sandbox = await backend.start(SandboxSpec(image=image(request.param)), owner="test-tools", lease="tools")
    yield sandbox
    await sandbox.close()
    await backend.close()


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture
def call(sandbox: Sandbox, artifacts: Artifacts) -> Call:
    """Calls a tool; keyword arguments `context` change the call's context, the others are the tool's arguments."""
    made = 0

    async def call(name: str, *, context: dict[str, Any] | None = None, **arguments: Any) -> ToolResult:
        nonlocal made
        made += 1
        values: dict[str, Any] = {"command_id": f"call-{made}", "timeout": 60.0, "output_limit": 1000}
        tools = [Bash(), StrReplace(), Finish()]
        return await call_tool(tools, name, arguments, ToolContext(sandbox, artifacts, **{**values, **(context or {})}))

    return call
