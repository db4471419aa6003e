"""How tools are described to a model: OpenAI chat functions, OpenAI Responses functions, MCP tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel

from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.tools.base import Tool

Format = Literal["openai", "responses", "mcp"]
FORMATS: tuple[str, ...] = get_args(Format)


def describe(tools: Sequence[Tool], format: str = "openai") -> list[dict[str, Any]]:
    """One description for each tool. Raises BadRequest for a format that is not one of FORMATS.

    `openai` is the `tools` of Chat Completions, `responses` that of the Responses API (which has no inner `function`),
    `mcp` the `tools` of an MCP `tools/list` answer.
    """
    match format:
        case "openai":
            return [{"type": "function", "function": {**_head(tool), "parameters": schema(tool)}} for tool in tools]
        case "responses":
            # `strict` would make every optional argument required.
            return [{"type": "function", **_head(tool), "parameters": schema(tool), "strict": False} for tool in tools]
        case "mcp":
            return [{**_head(tool), "inputSchema": schema(tool)} for tool in tools]
    raise BadRequest(f"format: {format!r} is not one of {', '.join(FORMATS)}")


def schema(tool: Tool) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, without what only pydantic cares about."""
    arguments: type[BaseModel] = tool.Arguments
    full = arguments.model_json_schema()
    properties = {name: _plain(field) for name, field in full.get("properties", {}).items()}
    return {
        "type": "object",
        "properties": properties,
        "required": list(full.get("required", [])),
        "additionalProperties": False,
    }


def _head(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description}


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """`X | None = None` as an optional X: chat templates trip over `anyOf` and null defaults."""
    options = [option for option in field.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        field = {**options[0], **{key: value for key, value in field.items() if key != "anyOf"}}
    return {key: value for key, value in field.items() if key != "title" and not (key == "default" and value is None)}
