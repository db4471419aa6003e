"""How the tools are described to a model."""

from __future__ import annotations

import pytest

from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.tools.bash import Bash
from envfarm.toolbox.tools.finish import Finish
from envfarm.toolbox.tools.formats import describe
from envfarm.toolbox.tools.str_replace import StrReplace

TOOLS = [Bash(), StrReplace(), Finish()]


def test_openai_functions() -> None:
    bash, replace, finish = describe(TOOLS, "openai")
    assert bash["type"] == "function"
    assert bash["function"]["name"] == "bash"
    assert bash["function"]["description"]
    assert bash["function"]["parameters"]["required"] == ["command"]
    assert bash["function"]["parameters"]["additionalProperties"] is False
    assert replace["function"]["parameters"]["required"] == ["path", "old", "new"]
    assert finish["function"]["parameters"]["required"] == []


def test_responses_functions_have_no_inner_function() -> None:
    bash = describe(TOOLS, "responses")[0]
    assert set(bash) == {"type", "name", "description", "parameters", "strict"}
    assert (bash["type"], bash["name"], bash["strict"]) == ("function", "bash", False)


def test_mcp_tools() -> None:
    for tool in describe(TOOLS, "mcp"):
        assert set(tool) == {"name", "description", "inputSchema"}
        assert tool["inputSchema"]["type"] == "object"


def test_optional_arguments_are_plain() -> None:
    properties = describe(TOOLS)[0]["function"]["parameters"]["properties"]
    timeout = properties["timeout"]
    assert timeout["type"] == "number"
    assert timeout["exclusiveMinimum"] == 0
    assert not {"anyOf", "title", "default"} & set(timeout)
    assert all(field["description"] for field in properties.values())


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(BadRequest, match="'xml' is not one of openai, responses, mcp"):
        describe(TOOLS, "xml")
