"""What a model is told, turn by turn: the chat with its tool calls, older results folded away beyond a limit.

Two protocols: `tools`, the tool calls of chat completions, and `text`, for models without them: one fenced block an
answer, whose language is the tool's name, in the manner of mini-swe-agent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from envfarm.toolbox.chat import ChatAnswer
from envfarm.trainers.client import Message, Step

Protocol = Literal["tools", "text"]

NUDGE = "Call a tool; when you are done, call finish."
_BLOCK = re.compile(r"^```[ \t]*(\w+)[ \t]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_TEXT = """Answer with what you think, and then exactly one fenced block that calls a tool. The word after the fence \
is the tool's name; the block holds its arguments as a JSON object, or, for a tool with one text, that text as it is:

```bash
ls -la
```

The tools:
{tools}"""


class Conversation:
    """One attempt's chat. `fold` is how many characters of tool results are sent; the newest is always sent whole."""

    def __init__(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], protocol: Protocol, fold: int
    ) -> None:
        self.messages: list[dict[str, Any]] = [message.model_dump() for message in messages]
        self.folded = 0  # results that were left out of the last question
        self._tools, self._protocol, self._fold = list(tools), protocol, fold
        self._results: list[int] = []  # places of the tools' results
        if protocol == "text":
            self.messages.insert(0, {"role": "system", "content": _TEXT.format(tools=_described(self._tools))})

    @property
    def tools(self) -> list[Mapping[str, Any]] | None:
        """What the endpoint is told of the tools; None where the text tells."""
        return self._tools if self._protocol == "tools" else None

    def sent(self) -> list[dict[str, Any]]:
        """The messages as the model gets them: all there are, the oldest results folded beyond the limit."""
        room, shown = self._fold, list(self.messages)
        self.folded = 0
        for number, place in enumerate(reversed(self._results)):
            content = str(shown[place]["content"])
            room -= len(content)
            if room < 0 and number:
                note = f"[folded away: {len(content)} characters of an older result]"
                shown[place] = shown[place] | {"content": note}
                self.folded += 1
        return shown

    def answered(self, answer: ChatAnswer) -> list[dict[str, Any]]:
        """Keep what the model said; its tool calls, as the farm takes them. None where it made no call."""
        if self._protocol == "text":
            self.messages.append({"role": "assistant", "content": answer.text})
            return self._calls_of_text(answer.text)
        message: dict[str, Any] = {"role": "assistant", "content": answer.text}
        calls = [
            {"id": call.id or f"call_{len(self.messages)}_{number}", "name": call.name, "arguments": call.arguments}
            for number, call in enumerate(answer.tool_calls)
        ]
        if calls:
            message["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"]},
                }
                for call in calls
            ]
        self.messages.append(message)
        return calls

    def observed(self, calls: Sequence[Mapping[str, Any]], step: Step) -> None:
        """Keep what came of the calls; those after the one that ended the episode have no result."""
        for call, result in zip(calls, step.results, strict=False):
            self._results.append(len(self.messages))
            if self._protocol == "text":
                self.messages.append({"role": "user", "content": f"{call['name']}:\n{result.content}"})
            else:
                self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": result.content})

    def nudge(self) -> None:
        """Ask for a call, after an answer without one."""
        self.messages.append({"role": "user", "content": NUDGE})

    def _calls_of_text(self, text: str) -> list[dict[str, Any]]:
        blocks = _BLOCK.findall(text)
        names = {tool["function"]["name"]: _only_text(tool["function"]) for tool in self._tools}
        known = [(name, body) for name, body in blocks if name in names]
        if not known:
            return []
        name, body = known[-1]  # what it thinks may show others
        return [{"id": f"call_{len(self.messages)}", "name": name, "arguments": _arguments(body, names[name])}]


def _arguments(body: str, only: str | None) -> str:
    """A block's body as JSON arguments; what is no object is the tool's only text, where it has one."""
    try:
        if isinstance(json.loads(body), dict):
            return body
    except ValueError:
        pass
    return body if only is None else json.dumps({only: body.rstrip("\n")})


def _only_text(function: Mapping[str, Any]) -> str | None:
    """The one text that a tool takes or must be given, None where there are several."""
    schema = function.get("parameters", {})
    properties = schema.get("properties", {})
    needed = schema.get("required") or list(properties)
    return needed[0] if len(needed) == 1 else None


def _described(tools: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for tool in tools:
        function = tool["function"]
        lines.append(f"- {function['name']}: {function.get('description', '')}")
        lines.append(f"  arguments: {json.dumps(function.get('parameters', {}).get('properties', {}))}")
    return "\n".join(lines)
