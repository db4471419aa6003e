"""From what a model wrote to a tool's answer: a mistake of the model is an answer that says what to fix."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from envfarm.toolbox.tools.base import Tool, ToolContext, ToolResult

Arguments = str | Mapping[str, Any] | None
"""What models send: a JSON text, an object, or nothing at all."""


class BadCall(Exception):
    """A call that cannot be made; the message is for the model and says what to fix."""


async def call_tool(tools: Sequence[Tool], name: str, arguments: Arguments, context: ToolContext) -> ToolResult:
    """Make one call. A call that cannot be made is a result with `is_error`. Raises SandboxError."""
    try:
        tool, parsed = parse_call(tools, name, arguments)
    except BadCall as problem:
        return ToolResult(content=printable(f"error: {problem}"), is_error=True)
    return await tool.call(parsed, context)


def parse_call(tools: Sequence[Tool], name: str, arguments: Arguments) -> tuple[Tool, BaseModel]:
    """The tool of that name and its arguments, checked. Raises BadCall."""
    tool = next((tool for tool in tools if tool.name == name), None)
    if tool is None:
        raise BadCall(_unknown(name, [tool.name for tool in tools]))
    values = _object(tool, arguments)
    _refuse_surrogates(values)
    try:
        return tool, tool.Arguments.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(tool, item) for item in error.errors(include_url=False))
        raise BadCall(f"{tool.name}: {problems}. Nothing was run; send the call again, corrected.") from None


def printable(text: str) -> str:
    """Text that every store and every wire takes: NUL and lone surrogates as backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def _unknown(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    return f"no tool is called {name[:80]!r}; the tools are {', '.join(names)}.{hint}"


def _object(tool: Tool, arguments: Arguments) -> dict[str, Any]:
    if isinstance(arguments, str):
        if not arguments.strip():
            return {}  # what some servers send for a call without arguments
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError as error:
            reason = error.msg.removesuffix(" at")
            where = f"line {error.lineno} column {error.colno}"
            raise BadCall(
                f"{tool.name}: the arguments are not valid JSON: {reason} at {where}. {_form(tool)}"
            ) from None
        except (ValueError, RecursionError) as error:
            raise BadCall(f"{tool.name}: the arguments are not usable JSON: {error}. {_form(tool)}") from None
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        kind = type(arguments).__name__
        raise BadCall(f"{tool.name}: the arguments must be a JSON object, not a {kind}. {_form(tool)}")
    return {str(key): value for key, value in arguments.items()}


def _form(tool: Tool) -> str:
    """`Send an object like {"path": …, "old": …}.`"""
    fields = ", ".join(f'"{name}": …' for name, field in tool.Arguments.model_fields.items() if field.is_required())
    return f"Send an object like {{{fields}}}."


def _refuse_surrogates(values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                code = f"\\u{ord(value[error.start]):04x}"
                raise BadCall(
                    f"`{key}` holds a lone surrogate ({code}) at offset {error.start}, which has no UTF-8 form; "
                    "write the character itself, or both halves of the pair"
                ) from None


def _problem(tool: Tool, item: Mapping[str, Any]) -> str:
    """One field's mistake, with the fix."""
    field = ".".join(str(part) for part in item["loc"]) or "arguments"
    known = list(tool.Arguments.model_fields)
    match item["type"]:
        case "missing":
            return f"`{field}` is missing and is required"
        case "extra_forbidden":
            near = get_close_matches(field, known, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            takes = ", ".join(f"`{name}`" for name in known) or "none"
            return f"`{field[:80]}` is not an argument (it takes {takes}{hint})"
        case "string_type" | "float_type" | "int_type" | "bool_type":
            wanted = {"string_type": "a string", "bool_type": "true or false"}.get(item["type"], "a number")
            return f"`{field}` must be {wanted}, not {_json_type(item['input'])}"
        case _:
            return f"`{field}`: {item['msg'].removeprefix('Value error, ')}"


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list() | tuple():
            return "an array"
        case _:
            return "an object"
