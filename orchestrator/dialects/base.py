"""What a dialect is: a name, its routes, and how its own errors look. Everything else is the same for all."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from envfarm.orchestrator.dialects.door import Door
from envfarm.orchestrator.http.auth import Auth, Caller
from envfarm.orchestrator.http.boundary import FARM, METRICS, error_body, settled, status_of
from envfarm.orchestrator.http.inflight import IN_FLIGHT, InFlight
from envfarm.orchestrator.http.metrics import Metrics
from envfarm.orchestrator.schemas.episodes import ErrorBody
from envfarm.toolbox.errors import BadRequest

if TYPE_CHECKING:
    from envfarm.orchestrator.farm.farm import Farm

SOCKETS: web.AppKey[set[web.WebSocketResponse]] = web.AppKey("sockets", set)
DATASET = "dataset"  # the part of a path that names the default dataset of a dialect's sessions
_AUTH: web.AppKey[Auth] = web.AppKey("dialect_auth", Auth)
_DIALECT: web.AppKey[Dialect] = web.AppKey("dialect")
_JSON = {"Content-Type": "application/json"}

Handle = Callable[[web.Request, Door], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, as /v1 would say it; a dialect says it in its own words."""

    status: int
    headers: dict[str, str]
    body: ErrorBody

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """An exception as the callers of /v1 are told of it."""
        status, headers = status_of(error)
        return cls(status, headers, error_body(error))


@dataclass(frozen=True, slots=True)
class Route:
    """One line of a dialect's table; `open` needs no token."""

    method: str
    path: str
    handle: Handle
    open: bool = False


@dataclass(frozen=True, slots=True)
class Dialect:
    """A facade. `say` puts a failure into its own words; `prefixed` lets paths begin with `/env/DATASET`."""

    name: str
    routes: Sequence[Route]
    say: Callable[[web.Request, Failure], web.Response]
    prefixed: bool = False
    key_header: str | None = None  # a header that this dialect's clients send their token in


def make_dialect_app(dialect: Dialect, farm: Farm, *, tokens: Sequence[str], body_limit: int) -> web.Application:
    """The application of a dialect over a farm that somebody else starts and closes; `body_limit` is in bytes."""
    app = web.Application(middlewares=[_boundary], client_max_size=body_limit)
    app[FARM] = farm
    app[_AUTH] = Auth(tokens)
    app[METRICS] = Metrics(farm.toolbox.stats, farm.counts)
    app[IN_FLIGHT] = InFlight()
    app[SOCKETS] = set()
    app[_DIALECT] = dialect
    app.on_shutdown.extend((_hang_up, app[IN_FLIGHT].end))
    for route in dialect.routes:
        for path in _paths(dialect, route.path):
            app.router.add_route(route.method, path, _endpoint(route))
    return app


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer as JSON."""
    return web.Response(body=orjson.dumps(value), status=status, headers={**_JSON, **(headers or {})})


async def json_body(request: web.Request) -> Any:
    """The body as JSON; an empty one is an empty object. Raises BadRequest."""
    try:
        return orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body: not JSON: {error}") from None


async def json_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object; an empty one is empty. Raises BadRequest."""
    value = await json_body(request)
    if not isinstance(value, dict):
        raise BadRequest("body: send a JSON object")
    return value


def _paths(dialect: Dialect, path: str) -> list[str]:
    """Where a route is found: also below a token, for clients that can send no headers, and below a dataset."""
    paths = [path]
    if dialect.prefixed:
        paths.append(f"/env/{{{DATASET}}}{path}")
    return paths + [f"/k/{{token}}{one}" for one in paths]


def _endpoint(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if "%00" in request.raw_path:
            raise BadRequest("the URL holds a NUL character")
        caller = Caller() if route.open else _caller(request)
        work = route.handle(request, Door(request.app[FARM], caller))
        return await request.app[IN_FLIGHT].answer(work)

    return handle


def _caller(request: web.Request) -> Caller:
    """Who calls: by the header of /v1, or in one of the ways that clients have which can't send it."""
    headers = request.headers
    token = request.match_info.get("token") or headers.get(request.app[_DIALECT].key_header or "")
    authorization = f"Bearer {token}" if token else _bearer(headers.get("Authorization"))
    return request.app[_AUTH].caller(authorization, request.host, headers.get("Origin"))


def _bearer(authorization: str | None) -> str | None:
    """A header as it is, but the password of `http://USER:TOKEN@HOST` as a bearer token."""
    scheme, _, rest = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return authorization
    try:
        user, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return authorization
    return f"Bearer {password or user}"


@web.middleware
async def _boundary(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Turn every error into the dialect's own shape, and count the request."""
    started = perf_counter()
    dialect = request.app[_DIALECT]
    response = await settled(handler(request))
    if isinstance(response, web.HTTPException):
        body = ErrorBody(type="bad_request", message=f"{request.path}: {response.reason}", retryable=False)
        response = dialect.say(request, Failure(response.status, {}, body))
    elif isinstance(response, Exception):
        response = dialect.say(request, Failure.of(response))
    resource = request.match_info.route.resource
    path = resource.canonical.removeprefix("/k/{token}") if resource is not None else "unknown"
    method = request.method if resource is not None else "any"
    request.app[METRICS].request(method, f"{dialect.name}:{path}", response.status, perf_counter() - started)
    return response


async def _hang_up(app: web.Application) -> None:
    """End all sockets, so that the server's end does not wait for them; their sessions can be taken up again."""
    await asyncio.gather(*(socket.close(code=1001, message=b"the server ends") for socket in app[SOCKETS]))
