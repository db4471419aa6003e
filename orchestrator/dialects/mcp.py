"""The Model Context Protocol (streamable HTTP, 2025-11-25 and before): the tools of one episode, for any agent.

Nothing is kept here: a call is a step whose id comes from the session and from the call's own id, so a stream that
broke is taken up again from what the farm recorded, also after a restart.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable
from hashlib import sha256
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from envfarm import __version__
from envfarm.orchestrator.dialects.rpc import CallId, Json, RpcCall, UnknownMethod, answered, call_id
from envfarm.orchestrator.dialects.turns import in_turn
from envfarm.orchestrator.http.boundary import JSON, Nothing, Request, Route
from envfarm.orchestrator.http.sse import stream
from envfarm.orchestrator.schemas.episodes import Call, StepRequest, StepView
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.explain import explain

STEP_ID = "envfarm/step_id"  # in the `_meta` of a call: a step_id of the agent's own
STEP = "envfarm/step"  # in the `_meta` of a result: what /v1 says of the step besides its content
VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_SESSION = "Mcp-Session-Id"
_RETRY = 2000  # milliseconds after which a client takes up a broken stream
_POLL = 600.0  # seconds
_LOOK = 0.1  # seconds
_PAGE = 1000
_ROLES = {"assistant": "assistant"}  # MCP knows only this one and `user`

Http = Request[Nothing, Nothing]


async def post(request: Http) -> web.StreamResponse:
    """One JSON-RPC message of an MCP client: initialize, ping, tools/list, tools/call, prompts/list, prompts/get."""
    id = await request.episode()
    call = RpcCall.of(_json(await request.http.read()))
    if call.id is None or call.method is None:
        return web.Response(status=202)  # a notification, or an answer: we ask nothing of clients
    if call.method == "tools/call":
        return await _call_tool(request, id, call.id, call.params)
    session = {_SESSION: secrets.token_hex(16)} if call.method == "initialize" else {}
    answer = await answered(call.id, id, _plain(request, id, call))
    return web.Response(body=orjson.dumps(answer), headers={**JSON, **session})


async def resume(request: Http) -> web.StreamResponse:
    """The rest of a stream that broke; header Last-Event-ID says which. Clients are sent nothing unasked."""
    id = await request.episode()
    last = request.http.headers.get("Last-Event-ID")
    if last is None:
        raise web.HTTPMethodNotAllowed("GET", ["POST"])
    rpc_id = call_id(_json(last.encode()))
    if rpc_id is None:
        raise BadRequest("Last-Event-ID: send the id of the event that came last")
    step_id = _step_id(request, rpc_id)
    return await stream(request.http, _events(id, rpc_id, _recorded(request, id, step_id)), encode=bytes)


ROUTES = (
    Route("POST", "/{id}", post, "application/json"),
    Route("GET", "/{id}", resume, "text/event-stream"),
)


async def _call_tool(request: Http, id: str, rpc_id: CallId, params: Json) -> web.StreamResponse:
    """Run a tool; over a stream where the client takes one, which can be taken up again."""
    own = (params.get("_meta") or {}).get(STEP_ID)
    step_id = own if own is not None else _step_id(request, rpc_id)
    work = _run(request, id, step_id, params)
    if "text/event-stream" not in request.http.headers.get("Accept", ""):
        return web.Response(body=orjson.dumps(await answered(rpc_id, id, work)), headers=JSON)
    # Before 2025-11-25 events without data were not foreseen; and another id than ours cannot be taken up again.
    resumable = own is None and request.http.headers.get("Mcp-Protocol-Version", "") >= VERSIONS[0]
    return await stream(request.http, _events(id, rpc_id, work, resumable), encode=bytes)


async def _events(id: str, rpc_id: CallId, work: Awaitable[Json], resumable: bool = True) -> AsyncIterator[bytes]:
    """The events of one call: the first only names it, the second is its answer."""
    name = f"id: {json.dumps(rpc_id)}\n" if resumable else ""
    if resumable:
        yield f"{name}retry: {_RETRY}\ndata: \n\n".encode()
    answer = orjson.dumps(await answered(rpc_id, id, work))
    yield b"%bevent: message\ndata: %b\n\n" % (name.encode(), answer)


async def _run(request: Http, id: str, step_id: Any, params: Json) -> Json:
    """A call as a step of one call. Agents may call several tools at once: an episode's run one after the other."""
    try:
        call = Call.model_validate({"name": params.get("name"), "arguments": params.get("arguments") or {}})
        step = StepRequest.model_validate({"step_id": step_id, "calls": [call]})
    except ValidationError as error:
        raise BadRequest(f"params: {explain(error, StepRequest)}") from None
    async with in_turn(request.http.app, id):
        view = await request.farm.step(id, step)
    assert view is not None  # no `wait` was given
    return _result(view)


async def _recorded(request: Http, id: str, step_id: str) -> Json:
    while (view := await request.farm.step_result(id, step_id, _POLL)) is None:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK)  # one that a restart left in flight is not taken up yet
    return _result(view)


def _result(view: StepView) -> Json:
    [result] = view.results
    more = {**result.model_dump(exclude={"content", "is_error", "id", "name"}), "step_id": view.step_id}
    more |= {"turn": view.turn, "terminated": view.terminated, "truncated": view.truncated, "reason": view.info.reason}
    content = [{"type": "text", "text": result.content}]
    return {"content": content, "isError": result.is_error, "_meta": {STEP: more}}


async def _plain(request: Http, id: str, call: RpcCall) -> Json:
    """The methods that run nothing. Raises UnknownMethod, BadRequest."""
    match call.method:
        case "initialize":
            asked = call.params.get("protocolVersion")
            return {
                "protocolVersion": asked if asked in VERSIONS else VERSIONS[0],
                "capabilities": {"tools": {}, "prompts": {}},
                "serverInfo": {"name": "envfarm", "version": __version__},
            }
        case "ping":
            return {}
        case "tools/list":
            task = (await request.farm.episode(id)).task
            tools = await request.farm.tools(task=task, format="mcp", limit=_PAGE)
            return {"tools": [one.root for one in tools.items]}
        case "prompts/list":
            return {"prompts": [{"name": "task", "description": "What the episode asks for."}]}
        case "prompts/get":
            if call.params.get("name") != "task":
                raise BadRequest("name: the one prompt is `task`")
            messages = (await request.farm.episode(id)).messages
            return {"messages": [_message(one.role, one.content) for one in messages]}
    raise UnknownMethod(f"method: no {str(call.method)[:100]!r} here; tools/list and tools/call are what there is")


def _message(role: str, content: str) -> Json:
    return {"role": _ROLES.get(role, "user"), "content": {"type": "text", "text": content}}


def _step_id(request: Http, rpc_id: CallId) -> str:
    """The same for the same call of the same session. Raises BadRequest."""
    session = request.http.headers.get(_SESSION)
    if session is None:
        raise BadRequest(f"{_SESSION}: send what `initialize` answered, or a step id as {STEP_ID!r} in `_meta`")
    return "mcp-" + sha256(json.dumps([session, rpc_id]).encode()).hexdigest()[:32]


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body: not JSON: {error}") from None
