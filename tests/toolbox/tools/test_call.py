"""What a model gets told about a call that cannot be made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from envfarm.toolbox.tools.bash import Bash, BashArguments
from envfarm.toolbox.tools.call import BadCall, parse_call, printable
from envfarm.toolbox.tools.finish import Finish, FinishArguments
from envfarm.toolbox.tools.str_replace import StrReplace

TOOLS = [Bash(), StrReplace(), Finish()]


def refusal(name: str, arguments: Any) -> str:
    with pytest.raises(BadCall) as caught:
        parse_call(TOOLS, name, arguments)
    return str(caught.value)


@pytest.mark.parametrize("arguments", ['{"command": "ls", "timeout": 3}', {"command": "ls", "timeout": 3}])
def test_arguments_may_be_a_json_text_or_an_object(arguments: Any) -> None:
    tool, parsed = parse_call(TOOLS, "bash", arguments)
    assert tool is TOOLS[0]
    assert parsed == BashArguments(command="ls", timeout=3.0)


@pytest.mark.parametrize("arguments", ["", "  ", "{}", {}, None, '{"answer": null}'])
def test_a_call_without_arguments_needs_none(arguments: Any) -> None:
    assert parse_call(TOOLS, "finish", arguments)[1] == FinishArguments()


def test_an_unknown_tool_is_answered_with_those_there_are() -> None:
    message = refusal("str_repalce", {})
    assert "'str_repalce'" in message
    assert "bash, str_replace, finish" in message
    assert "Did you mean `str_replace`?" in message


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("bash", "{}", "`command` is missing"),
        ("bash", None, "`command` is missing"),
        ("bash", {"command": 3}, "`command` must be a string, not a number"),
        ("bash", {"command": None}, "`command` must be a string, not null"),
        ("bash", {"command": ["ls"]}, "`command` must be a string, not an array"),
        ("bash", {"command": "ls", "timeout": "3"}, "`timeout` must be a number, not a string"),
        ("bash", {"command": "ls", "timeout": True}, "`timeout` must be a number, not a boolean"),
        ("bash", {"command": "ls", "timeout": 0}, "`timeout`"),
        ("bash", {"command": "ls", "timeout": float("inf")}, "`timeout`"),
        ("bash", {"command": "a\0b"}, "`command`: a NUL byte at offset 1"),
        ("bash", {"cmd": "ls"}, "did you mean `command`?"),
        ("bash", {"command": "ls", "cwd": "/"}, "`cwd` is not an argument (it takes `command`, `timeout`"),
        ("str_replace", {"path": "a"}, "`old` is missing and is required; `new` is missing"),
        ("str_replace", {"path": "", "old": "", "new": ""}, "`path`: it must be a path"),
        ("str_replace", {"path": "a\0", "old": "", "new": ""}, "`path`: a path cannot hold a NUL byte"),
        ("finish", {"answer": 42}, "`answer` must be a string, not a number"),
        ("bash", {"command": "\ud800"}, r"`command` holds a lone surrogate (\ud800) at offset 0"),
        ("bash", '{"command": "\\ud83d x"}', r"`command` holds a lone surrogate (\ud83d)"),
        ("bash", "ls -l", "not valid JSON: Expecting value at line 1 column 1"),
        ("bash", '{"command": "ls"', "not valid JSON"),
        ("bash", '{"command": "a\nb"}', "not valid JSON: Invalid control character at line 1"),
        ("bash", '["ls"]', "must be a JSON object, not a list"),
        ("bash", '"ls"', "must be a JSON object, not a str"),
        ("bash", "[" * 100_000, "not usable JSON"),
        ("bash", '{"timeout": ' + "9" * 5000 + "}", "not usable JSON"),
    ],
)
def test_a_bad_call_says_what_to_fix(name: str, arguments: Any, said: str) -> None:
    message = refusal(name, arguments)
    assert said in message
    assert message.isascii() or "…" in message
    assert len(message) < 600


def test_broken_json_shows_the_form_that_is_wanted() -> None:
    assert 'Send an object like {"path": …, "old": …, "new": …}.' in refusal("str_replace", "path=a")


def test_a_unicode_pair_is_one_character() -> None:
    _, parsed = parse_call(TOOLS, "bash", json.dumps({"command": "echo 😀"}))
    assert parsed == BashArguments(command="echo 😀")


def test_printable_text_has_neither_nul_nor_surrogates() -> None:
    assert printable("a\0b\ud800c😀") == "a\\x00b\\ud800c😀"
