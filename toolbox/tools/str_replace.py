"""The `str_replace` tool: one exact replacement in a text file, by the shell commands of the agent's own user."""

from __future__ import annotations

import asyncio
import re
import shlex
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from envfarm.toolbox.errors import FileProblem
from envfarm.toolbox.sandboxes.base import ExecResult
from envfarm.toolbox.tools.base import ToolContext, ToolResult
from envfarm.toolbox.tools.edit import Edit, NoEdit, hint, replace, show
from envfarm.toolbox.tools.text import decode
from envfarm.toolbox.tools.textfile import NotText, TextFile, readings

SIZE_LIMIT = 10 << 20
"""Bytes of the largest file that is edited."""

_READ = """p={path}
[ -d "$p" ] && exit 101
[ -e "$p" ] || {{ [ -h "$p" ] && exit 102; exit 103; }}
[ -f "$p" ] || exit 104
cat "$p"
"""

# Written to a temporary file first: a full disk then leaves the file as it was. In place, so that mode, owner, hard
# links and symbolic links stay.
_WRITE = """p={path}
d=$(dirname "$p")
[ -d "$d" ] || mkdir -p "$d" || exit 1
t=$(mktemp 2>/dev/null) || t="/tmp/.envfarm-edit-$$"
cat > "$t" && cat "$t" > "$p"
s=$?
rm -f "$t"
[ "$s" = 0 ] && echo {note}
exit "$s"
"""


class StrReplaceArguments(BaseModel):
    """Arguments of `str_replace`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str = Field(description="The file; a relative path starts at the bash session's working directory.")
    old: str = Field(description="The exact text to replace, which must occur once. Empty to create a file.")
    new: str = Field(description="The text to put in its place.")

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        if not path or "\0" in path:
            raise ValueError("it must be a path" if not path else "a path cannot hold a NUL byte")
        return path


class StrReplace:
    """Replaces one piece of text in a file."""

    name: ClassVar[str] = "str_replace"
    description: ClassVar[str] = (
        "Replace a piece of text in a file. `old` must match exactly, white space included, and occur only once: add "
        "lines around it until it does. An empty `old` creates a new file. Returns the edited lines with their numbers."
    )
    Arguments: ClassVar[type[BaseModel]] = StrReplaceArguments

    async def call(self, arguments: Any, context: ToolContext) -> ToolResult:
        """Make the edit. Raises SandboxError."""
        try:
            path = await _absolute(arguments.path, context)
            if context.resumed:
                done = await context.sandbox.recover(context.command_id, timeout=context.timeout)
                if done is not None:
                    return await _written(path, done, context)
            data = await _read(path, context)
            # In a thread: a large file, or one searched for a near match, would hold up every other episode.
            file, edit = await asyncio.to_thread(_edit, path, data, arguments.old, arguments.new)
            result = await _write(path, file.encode(edit.text), edit, data is None, context)
            return _answer(path, result, edit, data is None)
        except (NoEdit, ValueError, FileProblem) as problem:
            return ToolResult(content=f"error: {problem}", is_error=True)


async def _absolute(path: str, context: ToolContext) -> str:
    if path.startswith("/"):
        return path
    where = await context.sandbox.run(
        "command pwd", session=context.session, user=context.user, cwd=context.cwd, timeout=context.timeout
    )
    directory = decode(where.stdout).removesuffix("\n")
    if where.exit_code != 0 or not directory.startswith("/") or directory.encode() + b"\n" != where.stdout:
        raise NoEdit("the bash session's working directory cannot be told: give an absolute path")
    return f"{directory.rstrip('/')}/{path}"


async def _read(path: str, context: ToolContext) -> bytes | None:
    """The file's bytes, None where there is no file."""
    result = await context.sandbox.run(
        _READ.format(path=shlex.quote(path)),
        user=context.user,
        cwd="/",
        timeout=context.timeout,
        output_limit=SIZE_LIMIT,
    )
    match result.exit_code:
        case 0 if result.truncated:
            raise NoEdit(f"{path} is larger than {SIZE_LIMIT >> 20} MiB: edit it with bash")
        case 0:
            return result.stdout
        case 101:
            raise NoEdit(f"{path} is a directory")
        case 102 | 103:
            return None
        case 104:
            raise NoEdit(f"{path} is not a regular file")
    raise NoEdit(f"{path} cannot be read: {_cause(result)}")


def _edit(path: str, data: bytes | None, old: str, new: str) -> tuple[TextFile, Edit]:
    if not old:
        if data:
            raise NoEdit(f"{path} exists: `old` may be empty only to create a file. Give the text to replace.")
        return TextFile("", "utf-8"), Edit(new, 0, len(new))
    if data is None:
        raise NoEdit(f"{path} does not exist. To create it, send an empty `old`.")
    if old == new:
        raise NoEdit("`old` and `new` are the same: there is nothing to change")
    try:
        files = readings(data)
    except NotText:
        raise NoEdit(f"{path} is a binary file: edit it with bash") from None
    for file in files:
        edit = replace(file, old, new)
        if edit is not None:
            return file, edit
    raise NoEdit(f"`old` does not occur in {path}. {hint(files[0].text, old)}".rstrip())


async def _write(path: str, data: bytes, edit: Edit, created: bool, context: ToolContext) -> ExecResult:
    note = f"{'created' if created else 'edited'}:{edit.start}:{edit.end}"
    return await context.sandbox.run(
        _WRITE.format(path=shlex.quote(path), note=note),
        user=context.user,
        cwd="/",
        stdin=data,
        timeout=context.timeout,
        command_id=context.command_id,
    )


async def _written(path: str, result: ExecResult, context: ToolContext) -> ToolResult:
    """The answer to an edit that an earlier farm process wrote: the file is read again to show it."""
    note = re.fullmatch(rb"(created|edited):(\d+):(\d+)\n", result.stdout)
    data = await _read(path, context) if result.exit_code == 0 and note else None
    if note is None or data is None:
        return _answer(path, result, Edit("", 0, 0), created=False)
    text = readings(data)[0].text
    start, end = (min(int(offset), len(text)) for offset in note.groups()[1:])
    return _answer(path, result, Edit(text, start, end), created=note[1] == b"created")


def _answer(path: str, result: ExecResult, edit: Edit, created: bool) -> ToolResult:
    if result.exit_code != 0:
        content = f"error: {path} cannot be written: {_cause(result)}"
        return ToolResult(content=content, is_error=True, timed_out=result.timed_out, seconds=result.seconds)
    head = f"Created {path}." if created else f"Edited {path}."
    lines = show(edit.text, edit.start, edit.end)
    return ToolResult(content=f"{head}\n{lines}" if lines else head, seconds=result.seconds)


def _cause(result: ExecResult) -> str:
    if result.timed_out:
        return f"timed out after {round(result.seconds, 1):g} s"
    lines = decode(result.stderr).strip().splitlines()
    return lines[-1] if lines else f"exit code {result.exit_code}"
