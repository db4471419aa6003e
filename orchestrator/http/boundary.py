"""The boundary between HTTP and the farm: requests become models, answers and errors become JSON."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from envfarm.orchestrator.errors import Forbidden, Moving
from envfarm.orchestrator.http.auth import Auth, Caller, credential
from envfarm.orchestrator.http.forwarding import FORWARDER
from envfarm.orchestrator.http.inflight import IN_FLIGHT
from envfarm.orchestrator.http.metrics import Metrics
from envfarm.orchestrator.schemas.episodes import ErrorBody
from envfarm.toolbox.errors import BackendUnavailable, BadRequest, FarmError, FarmFull, NotFound, SandboxError
from envfarm.toolbox.explain import explain

if TYPE_CHECKING:
    from envfarm.orchestrator.farm.farm import Farm

logger = logging.getLogger(__name__)

FARM: web.AppKey[Farm] = web.AppKey("farm")
AUTH: web.AppKey[Auth] = web.AppKey("auth", Auth)
METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)

JSON = {"Content-Type": "application/json"}
_AWAY = "5"  # seconds after which to ask again


class Nothing(BaseModel):
    """No parameters."""

    model_config = ConfigDict(extra="forbid")


Q = TypeVar("Q", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")


@dataclass(slots=True)
class Request(Generic[Q, B]):
    """One call: who makes it, and its parameters, validated."""

    farm: Farm
    http: web.Request
    caller: Caller
    query: Q
    body: B

    def path(self, name: str) -> str:
        """A part of the path."""
        return self.http.match_info[name]

    async def episode(self, *, deleted: bool = False) -> str:
        """The id of the path's episode. Raises NotFound, also when the caller may not know of it."""
        id = self.path("id")
        await self.may_see(id, deleted=deleted)
        return id

    async def may_see(self, id: str, *, deleted: bool = False) -> None:
        """Raise NotFound unless the caller may see an episode; `deleted`: also one that was deleted lately."""
        if self.caller.run is not None and await self.farm.episode_run(id, deleted=deleted) != self.caller.run:
            raise NotFound(f"no episode {id}")

    async def elsewhere(self, id: str) -> web.StreamResponse | None:
        """The answer of the server that drives an episode which the path does not name; None: it is for this one."""
        return await self.http.app[FORWARDER].about(self.http, id)

    def run(self, asked: str | None) -> str | None:
        """The run that a call is about: that of the token, else the one asked for. Raises Forbidden."""
        if self.caller.run is None:
            return asked
        if asked not in (None, self.caller.run):
            raise Forbidden(f"run: the token is for the run {self.caller.run!r}, not for {asked!r}")
        return self.caller.run


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with another status than its route's, or with headers of its own."""

    view: BaseModel
    status: int = 200
    headers: dict[str, str] | None = None


Handler = Callable[[Any], Awaitable["BaseModel | Reply | web.StreamResponse | None"]]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table: the server and its OpenAPI document are both made from it."""

    method: str
    path: str
    handler: Handler
    answer: type[BaseModel] | str | None = None  # a model, or a media type; None is 204 without a body
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None
    status: int = 200
    others: tuple[tuple[int, type[BaseModel]], ...] = ()  # further answers
    open: bool = False  # needs no token

    @property
    def summary(self) -> str:
        """What it does, in one sentence."""
        return (self.handler.__doc__ or "").strip().partition("\n")[0]


def endpoint(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of a route."""
    about_one = "{id}" in route.path
    drives = about_one or route.method == "POST"
    no_query = None if _required(route.query) else route.query()
    nothing = Nothing()

    async def handle(http: web.Request) -> web.StreamResponse:
        app = http.app
        if "%00" in http.raw_path:
            raise BadRequest("the URL holds a NUL character")
        caller = Caller()
        if not route.open:
            headers = http.headers
            caller = app[AUTH].caller(credential(headers), http.host, headers.get("Origin"))
        if drives and app[FARM].servers.lapsed:  # what we remember of our episodes may be old: somebody else has them
            await app[FARM].servers.hold()
        if about_one and http.match_info["id"] not in app[FARM].core.live:
            sent = await app[IN_FLIGHT].answer(app[FORWARDER].about(http, http.match_info["id"]))
            if sent is not None:
                return sent
        query = no_query if no_query is not None and not http.query_string else _query(route.query, http)
        body = nothing if route.body is None else await _body(route.body, http)
        answer = await app[IN_FLIGHT].answer(route.handler(Request(app[FARM], http, caller, query, body)))
        if isinstance(answer, web.StreamResponse):
            return answer
        if answer is None:
            return web.Response(status=204)
        if isinstance(answer, Reply):
            return encode(answer.view, answer.status, answer.headers)
        return encode(answer, route.status)

    return handle


def encode(view: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer as JSON; what the farm built is not validated again."""
    data = view.__pydantic_serializer__.to_json(view, warnings=False)
    return web.Response(body=data, status=status, headers=JSON if headers is None else {**JSON, **headers})


@web.middleware
async def boundary(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn every error into the one error shape, and count the request."""
    started = perf_counter()
    response = await settled(handler(request))
    if isinstance(response, web.HTTPException):
        response = _of_aiohttp(request, response)
    elif isinstance(response, Exception):
        response = failure(response, request.match_info.get("id"))
    if request.app[FARM].core.draining and not response.prepared:
        response.force_close()  # its client comes again over another connection, perhaps to another server
    resource = request.match_info.route.resource
    method, path = (request.method, resource.canonical) if resource is not None else ("any", "unknown")
    request.app[METRICS].request(method, path, response.status, perf_counter() - started)
    return response


async def settled(work: Awaitable[T]) -> T | Exception:
    """What work comes to, its exception among that: the one boundary, beyond which whatever happens is an answer."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001
        return error


def failure(error: BaseException, episode: str | None = None) -> web.Response:
    """An exception as a response."""
    headers = {}
    status = error.status if isinstance(error, FarmError) else 500
    if isinstance(error, FarmFull | Moving):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif status == 503 and (isinstance(error, BackendUnavailable) or not isinstance(error, SandboxError)):
        headers["Retry-After"] = _AWAY  # the engine, the store, or we ourselves: not so for an episode's lost sandbox
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _shape(error_body(error, episode), status, headers)


def error_body(error: BaseException, episode: str | None = None) -> ErrorBody:
    """What a caller is told of an exception; of one that nobody foresaw only that it happened."""
    if not isinstance(error, FarmError):
        logger.error("unexpected error", exc_info=error)
        message = f"the server failed ({type(error).__name__}); its log says more"
        return ErrorBody(type="infra_error", message=message, retryable=True, episode=episode)
    if not isinstance(error, BadRequest | FarmFull | Moving):  # what happens all the time
        logger.warning("%s: %s", type(error).__name__, error)
    return ErrorBody(type=error.type, message=str(error), retryable=error.retryable, episode=episode)


def _of_aiohttp(http: web.Request, error: web.HTTPException) -> web.Response:
    path = http.path
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        body = ErrorBody(type="method_not_allowed", message=f"{path} takes {allowed}", retryable=False)
        return _shape(body, 405, {"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return _shape(ErrorBody(type="not_found", message=f"no path {path}; /docs has all", retryable=False), 404)
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        message = f"the body has more than {http.client_max_size} bytes; send less, or raise the setting body_limit"
        return _shape(ErrorBody(type="too_large", message=message, retryable=False), 413, {"Connection": "close"})
    return _shape(ErrorBody(type="bad_request", message=error.reason, retryable=False), error.status)


def _shape(body: ErrorBody, status: int, headers: dict[str, str] | None = None) -> web.Response:
    data = b'{"error":' + body.model_dump_json(exclude_none=True).encode() + b"}"
    return web.Response(body=data, status=status, headers={**JSON, **(headers or {})})


def _required(model: type[BaseModel]) -> bool:
    return any(field.is_required() for field in model.model_fields.values())


def _query(model: type[Q], http: web.Request) -> Q:
    try:
        return model.model_validate(dict(http.query))
    except ValidationError as error:
        raise BadRequest(f"query: {explain(error, model)}") from None


async def _body(model: type[B], http: web.Request) -> B:
    if http.content_length is not None and http.content_length > http.client_max_size:
        raise web.HTTPRequestEntityTooLarge(http.client_max_size, http.content_length)
    try:
        data = await http.read()
    except web.RequestPayloadError:
        raise BadRequest("body: cut short, or not in the Content-Encoding that its header names") from None
    try:
        return model.model_validate_json(data or b"{}")
    except ValidationError as error:
        raise BadRequest(f"body: {explain(error, model)}") from None
