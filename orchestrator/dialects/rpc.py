"""JSON-RPC 2.0, as MCP and OpenEnv speak it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from envfarm.orchestrator.dialects.base import Failure
from envfarm.orchestrator.http.boundary import settled
from envfarm.toolbox.errors import BadRequest, FarmError

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000

Json = dict[str, Any]


class UnknownMethod(BadRequest):
    """There is no such method."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request; a notification has no id."""

    method: str
    params: Json
    id: str | int | None = None

    @classmethod
    def of(cls, message: Any) -> Call:
        """A request from JSON. Raises BadRequest."""
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            raise BadRequest('jsonrpc: send a JSON-RPC 2.0 object, with "jsonrpc": "2.0"')
        method, params, id = message.get("method"), message.get("params"), message.get("id")
        if not isinstance(method, str):
            raise BadRequest("method: missing, or no text")
        if not isinstance(params, dict | None):
            raise BadRequest("params: send an object")
        if isinstance(id, bool) or not isinstance(id, str | int | None):
            raise BadRequest("id: send a text or a whole number")
        return cls(method, params or {}, id)


Methods = Mapping[str, Callable[[Call], Awaitable[Json]]]


async def answer(call: Call, methods: Methods) -> tuple[Json, Failure | None]:
    """What is answered to a call, and the failure in it, if it is one."""
    result = await settled(_run(call, methods))
    if isinstance(result, Exception):
        failure = Failure.of(result)
        return error(call.id, code_of(result), failure), failure
    return {"jsonrpc": "2.0", "id": call.id, "result": result}, None


def error(id: str | int | None, code: int, failure: Failure) -> Json:
    """A failure as JSON-RPC has it; `data` says what /v1 would."""
    data = failure.body.model_dump(exclude_none=True, exclude={"message"})
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": failure.body.message, "data": data}}


def code_of(cause: Exception) -> int:
    """The code of an exception: the caller's mistakes, what the farm refuses, and what it failed at."""
    if isinstance(cause, UnknownMethod):
        return METHOD_NOT_FOUND
    if isinstance(cause, BadRequest) and cause.status == 400:
        return INVALID_PARAMS
    return SERVER_ERROR if isinstance(cause, FarmError) else INTERNAL_ERROR


async def _run(call: Call, methods: Methods) -> Json:
    method = methods.get(call.method)
    if method is None:
        raise UnknownMethod(f"method: no {call.method[:100]!r} here; there are {', '.join(methods)}")
    return await method(call)
