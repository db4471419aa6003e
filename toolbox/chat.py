"""A model behind the OpenAI-compatible chat API."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from envfarm.toolbox.endpoint import BadAnswer, Endpoint
from envfarm.toolbox.explain import explain

ChatMessage = Mapping[str, Any]
"""One message as the API has it: `role`, and `content` as text or as a list of parts."""

_MEDIA = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


class ToolCall(BaseModel):
    """A tool that the model calls; `arguments` is JSON as the model wrote it, so it may be broken."""

    id: str = ""
    name: str
    arguments: str = "{}"


class Usage(BaseModel):
    """Tokens of one call; 0 where the endpoint does not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens


class ChatAnswer(BaseModel):
    """What the model said. `refusal` is set where the endpoint marks that it declined."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish_reason: str = ""  # stop, length, tool_calls, content_filter
    refusal: str | None = None


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Function(_Wire):
    name: str
    arguments: str | None = None


class _Call(_Wire):
    id: str | None = None
    function: _Function


class _Message(_Wire):
    content: str | None = None
    refusal: str | None = None
    tool_calls: tuple[_Call, ...] | None = None


class _Choice(_Wire):
    message: _Message
    finish_reason: str | None = None


class _Tokens(_Wire):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(_Wire):
    choices: tuple[_Choice, ...]
    usage: _Tokens | None = None


def text_part(text: str) -> dict[str, Any]:
    """A part of a message's content."""
    return {"type": "text", "text": text}


def image_part(data: bytes) -> dict[str, Any]:
    """A PNG, JPEG, WebP or GIF as a part of a message's content, in a data URL. Raises ValueError."""
    return {
        "type": "image_url",
        "image_url": {"url": f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"},
    }


def media_type(data: bytes) -> str:
    """The media type of an image by its first bytes. Raises ValueError."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    for magic, name in _MEDIA.items():
        if data.startswith(magic):
            return name
    raise ValueError(f"no PNG, JPEG, WebP or GIF: it begins with {data[:8]!r}")


class ChatModel(Endpoint):
    """One model at one endpoint; used by many tasks of one event loop at the same time."""

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        response_format: Mapping[str, Any] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
    ) -> ChatAnswer:
        """One answer. Raises ModelUnavailable, ModelRefused, BadAnswer."""
        optional = {
            "tools": tools,
            "response_format": response_format,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "seed": seed,
        }
        body = orjson.dumps(
            {"model": self.model, "messages": messages}
            | {name: value for name, value in optional.items() if value is not None}
        )
        return _answer(await self.post("/chat/completions", body), self.url)


def _answer(data: bytes, url: str) -> ChatAnswer:
    try:
        wire = _Completion.model_validate_json(data)
    except ValidationError as error:
        raise BadAnswer(f"{url}: no answer of the chat API: {explain(error)}") from None
    if not wire.choices:
        raise BadAnswer(f"{url}: no answer of the chat API: choices is empty")
    choice, tokens = wire.choices[0], wire.usage or _Tokens()
    return ChatAnswer(
        text=choice.message.content or "",
        tool_calls=tuple(
            ToolCall(id=call.id or "", name=call.function.name, arguments=call.function.arguments or "{}")
            for call in choice.message.tool_calls or ()
        ),
        usage=Usage(prompt_tokens=tokens.prompt_tokens or 0, completion_tokens=tokens.completion_tokens or 0),
        finish_reason=choice.finish_reason or "",
        refusal=choice.message.refusal,
    )
