"""The client as commands use it: connected to the right server, its errors turned into the farm's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from envfarm.toolbox.errors import BadRequest, FarmError

if TYPE_CHECKING:
    from envfarm.orchestrator.settings import Settings
    from envfarm.trainers.client import Client, Farm

_PATIENCE = 5.0  # seconds; a person waits in front of a command


class CallFailed(FarmError):
    """The server failed, or does not answer."""


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Client]:
    """A client of the server at `url`, of the one that works in the data folder, or of one of our own.

    Raises BadRequest for what the server refused, CallFailed for the rest, and what starting a server raises.
    """
    from envfarm.orchestrator.http.serving import reachable
    from envfarm.trainers.client import Client

    async with reachable(settings) as server:
        with _told(server.url):
            async with Client(server.url, token=server.token, patience=_PATIENCE) as client:
                yield client


@asynccontextmanager
async def connect_farm(settings: Settings) -> AsyncIterator[Farm]:
    """As `connect`, a farm that holds episodes; it waits as long as a trainer would."""
    from envfarm.orchestrator.http.serving import reachable
    from envfarm.trainers.client import Farm

    async with reachable(settings) as server:
        with _told(server.url):
            async with Farm(server.url, token=server.token) as farm:
                yield farm


@contextmanager
def _told(url: str) -> Iterator[None]:
    """The client's errors as the farm's own."""
    from envfarm.trainers.client import ClientError, Disconnected, Unauthorized

    try:
        yield
    except Unauthorized as error:
        raise BadRequest(f"{url}: {error}; give it with ENVFARM_TOKEN") from None
    except Disconnected as error:
        raise CallFailed(f"{url}: no server answers ({error}); start one with `envfarm serve`") from None
    except ClientError as error:
        raise (BadRequest if 400 <= error.status < 500 else CallFailed)(str(error)) from None
