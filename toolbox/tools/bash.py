"""The `bash` tool: one shell session for the whole episode."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from envfarm.toolbox.errors import FileProblem, StorageError
from envfarm.toolbox.sandboxes.base import ExecResult, Output
from envfarm.toolbox.tools.base import ToolContext, ToolResult
from envfarm.toolbox.tools.text import cut_text, decode

KEPT_LIMIT = 16 << 20
"""Bytes of a cut output that are put into the sandbox as a file; the artefact has all of it."""

# The number is the first free one, so that an episode played again names the same files.
_KEEP = """set -C
n=1
while [ -e "/tmp/envfarm-output-$n.txt" ] || [ -h "/tmp/envfarm-output-$n.txt" ]; do n=$((n + 1)); done
cat > "/tmp/envfarm-output-$n.txt" && echo "/tmp/envfarm-output-$n.txt"
"""


_LOST = "the whole of it could not be kept"
_NO_ROOM = "; the farm keeps no copy, for this episode's outputs have used up their room"


class BashArguments(BaseModel):
    """Arguments of `bash`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    command: str = Field(description="The command, or a script of several lines.")
    timeout: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Seconds after which the command and everything it started are killed. The farm's own limit on a "
        "call holds as well.",
    )

    @field_validator("command")
    @classmethod
    def _runnable(cls, command: str) -> str:
        if "\0" in command:
            raise ValueError(f"a NUL byte at offset {command.index(chr(0))}: no shell takes one; use printf '\\0'")
        return command


class Bash:
    """Runs a command in the episode's session."""

    name: ClassVar[str] = "bash"
    description: ClassVar[str] = (
        "Run a command in a bash session that lasts for the whole task: working directory, exported variables and "
        "functions stay, also after `exit` or a time-out. Returns stdout, then stderr, and the exit code when it is "
        "not 0. There is no terminal and nothing to read on stdin. Long output is cut in the middle and kept whole in "
        "a file that the answer names. Start services in the background, with their output redirected."
    )
    Arguments: ClassVar[type[BaseModel]] = BashArguments

    async def call(self, arguments: Any, context: ToolContext) -> ToolResult:
        """Run the command. Raises SandboxError, StorageError: then the same call gives the same result again."""
        timeout = min(arguments.timeout or context.timeout, context.timeout)
        result = await _run(arguments.command, timeout, context)
        try:
            artifacts, notes = await _keep_whole(result, context)
        except StorageError:
            raise  # the whole output stays, for when there is room
        except BaseException:
            await _discard(result)
            raise
        await _discard(result)
        return ToolResult(
            content=render(result, notes, timeout),
            exit_code=result.exit_code,
            truncated=result.truncated,
            timed_out=result.timed_out,
            seconds=result.seconds,
            artifacts=artifacts,
        )


def render(result: ExecResult, notes: dict[str, str], timeout: float) -> str:
    """What the model reads; `notes` says for each cut stream where the whole of it is, `timeout` is in seconds."""
    parts = [_stream(result.stdout, result.stdout_info, notes.get("stdout"))]
    if result.stderr:
        parts.append("[stderr]\n" + _stream(result.stderr, result.stderr_info, notes.get("stderr")))
    if result.timed_out:
        parts.append(f"[timed out after {round(timeout, 1):g} s: the command and all that it started were killed]")
    elif result.exit_code != 0:
        parts.append(f"[exit code {result.exit_code}]")
    parts = [part for part in parts if part]
    return "\n".join([part.removesuffix("\n") for part in parts[:-1]] + parts[-1:]) or "[no output]"


async def _discard(result: ExecResult) -> None:
    for output in (result.stdout_info, result.stderr_info):
        if output.spool is not None:
            await asyncio.to_thread(output.spool.unlink, missing_ok=True)


async def _run(command: str, timeout: float, context: ToolContext) -> ExecResult:
    if context.resumed:
        done = await context.sandbox.recover(context.command_id, timeout=timeout, output_limit=context.output_limit)
        if done is not None:
            return done
    return await context.sandbox.run(
        command,
        timeout=timeout,
        user=context.user,
        cwd=context.cwd,
        session=context.session,
        command_id=context.command_id,
        output_limit=context.output_limit,
        spool=True,
    )


def _stream(data: bytes, info: Output, note: str | None) -> str:
    if info.cut_at is None:
        return decode(data)
    return cut_text(data, info.cut_at, info.total, note)


async def _keep_whole(result: ExecResult, context: ToolContext) -> tuple[dict[str, str], dict[str, str]]:
    """Artefacts, and the sandbox's files, of what was cut."""
    artifacts: dict[str, str] = {}
    notes: dict[str, str] = {}
    room = math.inf if context.room is None else context.room
    for name, output in (("stdout", result.stdout_info), ("stderr", result.stderr_info)):
        if output.cut_at is None:
            continue
        if output.spool is None:
            notes[name] = _LOST
            continue
        size = output.spool.stat().st_size
        if fits := size <= room:
            artifacts[name] = await asyncio.to_thread(context.artifacts.put_file, output.spool)
            room -= size
        notes[name] = await _keep_file(await asyncio.to_thread(_bounded, output.spool), output.total, context)
        notes[name] += "" if fits else _NO_ROOM
    return artifacts, notes


def _bounded(spool: Path) -> bytes:
    with spool.open("rb") as file:
        return file.read(KEPT_LIMIT)


async def _keep_file(data: bytes, total: int, context: ToolContext) -> str:
    """Put the output into the sandbox, as the agent's user; a full disk is no fault of the farm."""
    try:
        kept = await context.sandbox.run(_KEEP, user=context.user, cwd="/", stdin=data, timeout=60)
    except FileProblem:
        return f"{_LOST} in the sandbox"
    if kept.exit_code != 0:
        return f"{_LOST} in the sandbox"
    what = "the whole of it" if total <= len(data) else f"its first {len(data)} bytes"
    return f"{what} is in {decode(kept.stdout).strip()}"
