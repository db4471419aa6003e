"""JSON-RPC 2.0: requests, answers and errors."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from envfarm.orchestrator.http.boundary import error_body, settled
from envfarm.toolbox.errors import BadRequest, FarmError

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000

Json = dict[str, Any]
CallId = str | int


class UnknownMethod(BadRequest):
    """There is no such method."""


@dataclass(frozen=True, slots=True)
class RpcCall:
    """A request, or a notification, which has no id; an answer of the client's has no method."""

    method: str | None
    params: Json
    id: CallId | None

    @classmethod
    def of(cls, message: Any) -> RpcCall:
        """A request from JSON. Raises BadRequest."""
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            raise BadRequest('body: send one JSON-RPC object, with "jsonrpc": "2.0"')
        method, params, id = message.get("method"), message.get("params"), message.get("id")
        if not isinstance(method, str | None):
            raise BadRequest("method: send a text")
        if not isinstance(params, dict | None):
            raise BadRequest("params: send an object")
        return cls(method, params or {}, call_id(id))


def call_id(value: Any) -> CallId | None:
    """An id from JSON. Raises BadRequest."""
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise BadRequest("id: send a text or a whole number")
    return value


async def answered(id: CallId | None, episode: str, work: Awaitable[Json]) -> Json:
    """What work comes to, as the answer to a call; the `data` of an error is the error as /v1 has it."""
    result = await settled(work)
    if not isinstance(result, Exception):
        return {"jsonrpc": "2.0", "id": id, "result": result}
    body = error_body(result, episode)
    data = body.model_dump(exclude_none=True, exclude={"message"})
    return {"jsonrpc": "2.0", "id": id, "error": {"code": _code(result), "message": body.message, "data": data}}


def _code(error: Exception) -> int:
    """The caller's mistakes, what the farm refuses or failed at, and what nobody foresaw."""
    if isinstance(error, UnknownMethod):
        return METHOD_NOT_FOUND
    if isinstance(error, BadRequest) and error.status == 400:
        return INVALID_PARAMS
    return SERVER_ERROR if isinstance(error, FarmError) else INTERNAL_ERROR
