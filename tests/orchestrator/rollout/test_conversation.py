"""What a model is told: its calls by either protocol, and older results folded away."""

from __future__ import annotations

import json

import pytest

from envfarm.orchestrator.rollout.conversation import Conversation
from envfarm.toolbox.chat import ChatAnswer, ToolCall
from envfarm.trainers.client import Message, Result, Step

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "…",
            "parameters": {"properties": {key: {"type": "string"} for key in properties}, "required": required},
        },
    }
    for name, properties, required in [
        ("bash", ["command", "session"], ["command"]),
        ("str_replace", ["path", "old", "new"], ["path", "old", "new"]),
        ("finish", ["answer"], []),
    ]
]


def talk(protocol: str = "tools", fold: int = 1000) -> Conversation:
    return Conversation([Message(role="user", content="Do it.")], TOOLS, protocol, fold)  # type: ignore[arg-type]


def turn(conversation: Conversation, content: str) -> None:
    calls = conversation.answered(ChatAnswer(text="", tool_calls=(ToolCall(name="bash", arguments="{}"),)))
    conversation.observed(calls, Step(step_id="s", turn=0, results=(Result(name="bash", content=content),)))


def test_tool_calls_are_answered_by_their_ids() -> None:
    conversation = talk()
    answer = ChatAnswer(text="so", tool_calls=(ToolCall(id="a", name="bash", arguments="{"), ToolCall(name="finish")))
    calls = conversation.answered(answer)
    assert [call["name"] for call in calls] == ["bash", "finish"]
    conversation.observed(calls, Step(step_id="s", turn=0, results=(Result(name="bash", content="bad JSON"),)))
    said, result = conversation.messages[1:]
    assert [one["id"] for one in said["tool_calls"]] == ["a", "call_1_1"]
    assert result == {"role": "tool", "tool_call_id": "a", "content": "bad JSON"}


def test_older_results_are_folded_and_the_newest_never() -> None:
    conversation = talk(fold=100)
    for letter in "abc":
        turn(conversation, letter * 60)
    results = [one["content"] for one in conversation.sent() if one["role"] == "tool"]
    folded = "[folded away: 60 characters of an older result]"
    assert (results, conversation.folded) == ([folded, folded, "c" * 60], 2)
    assert [one["content"] for one in conversation.messages if one["role"] == "tool"] == ["a" * 60, "b" * 60, "c" * 60]
    turn(conversation, "d" * 500)
    assert [one["content"] for one in conversation.sent() if one["role"] == "tool"][-1] == "d" * 500


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("Look.\n```bash\nls -la\n```", "bash", {"command": "ls -la"}),
        ('```bash\n{"command": "ls", "session": "x"}\n```\n', "bash", {"command": "ls", "session": "x"}),
        ("As in\n```python\nprint()\n```\nso\n```bash\necho a\necho b\n```", "bash", {"command": "echo a\necho b"}),
        (
            '```str_replace\n{"path": "a", "old": "b", "new": "c"}\n```',
            "str_replace",
            {"path": "a", "old": "b", "new": "c"},
        ),
        ("```finish\nforty-two\n```", "finish", {"answer": "forty-two"}),
    ],
)
def test_a_fenced_block_is_a_call(text: str, name: str, arguments: dict[str, str]) -> None:
    conversation = talk("text")
    [call] = conversation.answered(ChatAnswer(text=text))
    assert (call["name"], json.loads(call["arguments"])) == (name, arguments)
    assert conversation.tools is None
    assert "```bash" in conversation.messages[0]["content"]


@pytest.mark.parametrize("text", ["I am done.", "```python\nprint()\n```", "```bash\nls"])
def test_an_answer_without_a_block_calls_nothing(text: str) -> None:
    assert talk("text").answered(ChatAnswer(text=text)) == []
