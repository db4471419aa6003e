"""A client of a Docker engine for one piece of work, whose streams another thread can cut."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import requests
from docker.errors import DockerException
from docker.types import CancellableStream
from docker.utils import kwargs_from_env

from envfarm.toolbox.errors import BackendUnavailable

_DEFAULT_URL = "unix:///var/run/docker.sock"


class EngineClient(docker.APIClient):
    """Remembers its last response, so that another thread can cut a stream that is being read."""

    response: requests.Response | None = None

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """As in requests, which every call of the API that changes something goes through."""
        self.response = super().post(*args, **kwargs)
        return self.response

    def abort(self) -> None:
        """End the stream that is being read, with an error or early."""
        if self.response is not None:
            CancellableStream(iter(()), self.response).close()

    def close(self) -> None:
        """Let go of the engine, and of a stream that was not read to its end."""
        if self.response is not None:
            self.response.close()
        super().close()


@contextmanager
def engine(url: str | None, timeout: float) -> Iterator[EngineClient]:
    """A client of the engine at a URL, else at DOCKER_HOST, else of the local one.

    `timeout` is in seconds, for each answer. Raises BackendUnavailable.
    """
    settings = {"base_url": url} if url else kwargs_from_env()
    address = settings.get("base_url") or _DEFAULT_URL
    try:
        _probe(address)
        client = EngineClient(version="auto", timeout=int(timeout) + 1, **settings)
    except (DockerException, OSError) as error:
        raise BackendUnavailable(f"no Docker engine answers at {address} ({error}); see `envfarm doctor`") from None
    try:
        yield client
    except (requests.ConnectionError, requests.Timeout) as error:
        raise BackendUnavailable(f"the Docker engine at {address} went away: {error}") from None
    finally:
        client.close()


def _probe(address: str) -> None:
    """Reach a unix socket first: the docker package leaks its own when nobody listens."""
    scheme, _, path = address.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect("/" + path.lstrip("/"))
