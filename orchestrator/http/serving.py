"""A farm behind an HTTP port: bound first, so that a busy port costs nothing, and announced in the data folder."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from envfarm.orchestrator.errors import DataInUse, PortBusy, SettingsError
from envfarm.orchestrator.http.app import make_app, make_door, make_runner
from envfarm.orchestrator.http.auth import loopback
from envfarm.orchestrator.settings import Settings
from envfarm.orchestrator.wire import open_farm
from envfarm.tasks.registry import Registry

_ANNOUNCED = "server.json"


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is, and the bearer token that it takes; None when it asks for none."""

    url: str
    token: str | None
    registry: Registry | None = None  # of a server in this process
    drain: Callable[[float], Awaitable[None]] | None = None  # likewise: ends its steps, for at most so many seconds
    doors: tuple[tuple[str, str], ...] = ()  # dialects with a port of their own, and where it is


def data_folder(settings: Settings) -> Path:
    """The data folder, made where it is missing. Raises SettingsError."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        (settings.data / "logs").mkdir(exist_ok=True)
    except OSError as error:
        raise SettingsError(f"data: {settings.data}: {error.strerror}; choose another folder with --data") from None
    return settings.data


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Server]:
    """A server on the port of the settings until the end of the block.

    Raises PortBusy, SettingsError (open to the network without a token), and what `open_farm` raises.
    """
    tokens = [token.get_secret_value() for token in settings.tokens]
    if not tokens and not loopback(settings.host):
        raise SettingsError(
            f"host: {settings.host} can be reached from outside and no token is asked for; "
            "set ENVFARM_TOKENS, or host = 127.0.0.1"
        )
    for name in settings.dialect_ports:
        if name not in settings.dialects:
            raise SettingsError(f"dialect_ports: {name} has a port but is not spoken; add it to `dialects`")
    data = data_folder(settings)
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_listen(settings.host, settings.port))
        ports = settings.dialect_ports.items()
        doors = {name: stack.enter_context(_listen(settings.host, port)) for name, port in ports}
        farm = await stack.enter_async_context(open_farm(settings))
        app = make_app(farm, tokens=tokens, body_limit=settings.body_limit, dialects=settings.dialects)
        url = await _serve(stack, app, listener)
        open_doors = [
            (name, await _serve(stack, make_door(app, name, body_limit=settings.body_limit), door))
            for name, door in doors.items()
        ]
        stack.enter_context(_Announcement(data / _ANNOUNCED, url))
        yield Server(url, tokens[0].partition(":")[0] if tokens else None, farm.registry, farm.drain, tuple(open_doors))


@asynccontextmanager
async def reachable(settings: Settings) -> AsyncIterator[Server]:
    """The server that commands talk to, until the end of the block.

    It is `url` when that is set, else the one that works in the data folder now, else one of our own on a free port.
    """
    token = settings.token.get_secret_value() if settings.token else None
    if settings.url:
        yield Server(settings.url, token)
        return
    async with AsyncExitStack() as stack:
        own = secrets.token_urlsafe(16)
        private = settings.model_copy(
            update={
                "host": "127.0.0.1",
                "port": 0,
                "dialect_ports": {},
                "tokens": Settings(tokens=(own,)).tokens,
                "advertise": None,
                "takeover": False,  # it is gone as soon as the command is
            }
        )
        try:
            server = await stack.enter_async_context(serving(private))
        except DataInUse:
            url = _announced(settings.data / _ANNOUNCED)
            if url is None:
                raise
            first = next((known.get_secret_value().partition(":")[0] for known in settings.tokens), None)
            server = Server(url, token or first)
        yield server


async def _serve(stack: AsyncExitStack, app: web.Application, listener: socket.socket) -> str:
    """Serve an application until the stack unwinds; where it can be reached."""
    runner = make_runner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listener).start()
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if isinstance(error, socket.gaierror):
            raise SettingsError(f"host: {host}: {error.strerror}") from None
        raise PortBusy(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; "
            "stop what listens there, or choose another with --port, or dialect_ports"
        ) from None
    return listener


class _Announcement:
    """Tells other commands on this machine where the server is, for as long as it runs."""

    def __init__(self, path: Path, url: str) -> None:
        self._path = path
        self._url = url

    def __enter__(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"url": self._url, "pid": os.getpid()}))
        new.replace(self._path)

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


def _announced(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text())["url"])
    except (OSError, ValueError, KeyError):
        return None
