"""What the Docker back end asks of an engine through the `docker` package: in threads, with the farm's own errors."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import docker
import docker.errors
import requests.exceptions
from docker.utils import kwargs_from_env

from envfarm.toolbox.errors import BackendUnavailable, ImageError, SandboxError, SandboxLost, SandboxStartError

DEFAULT_URL = "unix:///var/run/docker.sock"
NETWORK = "envfarm-public"
"""The bridge of sandboxes with a public network: they reach the world, and not each other."""
THREADS = 16
_AGAIN = 0.2  # seconds until an engine is asked for its version once more

T = TypeVar("T")


class DockerApi:
    """An engine at a URL, else DOCKER_HOST, else the local one; TLS as DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say."""

    def __init__(self, url: str | None = None) -> None:
        self._settings: dict[str, Any] = {**kwargs_from_env()}
        if url:
            self._settings["base_url"] = url
        self._client: docker.DockerClient | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")

    @property
    def url(self) -> str:
        """The engine's address, as `unix:///path` or `tcp://host:port`."""
        return str(self._settings.get("base_url") or DEFAULT_URL).replace("https://", "tcp://")

    @property
    def tls(self) -> ssl.SSLContext | None:
        """How to speak TLS to it, None when it is not to be spoken."""
        config = self._settings.get("tls")
        if not config:
            return None
        context = ssl.create_default_context(cafile=config.ca_cert)
        context.check_hostname = bool(config.verify)
        if not config.verify:
            context.verify_mode = ssl.CERT_NONE
        if config.cert:
            context.load_cert_chain(*config.cert)
        return context

    @property
    def client(self) -> docker.DockerClient:
        """The `docker` package's client, made at first use; call it in `call`, for it blocks."""
        if self._client is None:
            settings = {"base_url": self.url, "max_pool_size": THREADS, **self._settings}
            try:
                self._client = docker.DockerClient(**settings)
            except docker.errors.DockerException:  # under load an engine's first answer may lack its version
                time.sleep(_AGAIN)
                self._client = docker.DockerClient(**settings)
        return self._client

    async def call(self, function: Callable[[docker.DockerClient], T]) -> T:
        """Call the `docker` package in a thread. Raises BackendUnavailable, SandboxLost (404), SandboxStartError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._probed, function)
        except docker.errors.APIError as error:
            raise _refused(error) from None
        except (requests.exceptions.RequestException, docker.errors.DockerException, OSError) as error:
            raise self._unavailable(error) from None

    def _probed(self, function: Callable[[docker.DockerClient], T]) -> T:
        """Call it once something listens: the `docker` package leaves a socket open each time that nothing does."""
        if self.url.startswith("unix://"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(self.url.removeprefix("unix://"))
        return function(self.client)

    def _unavailable(self, error: Exception) -> BackendUnavailable:
        return BackendUnavailable(
            f"no Docker engine answers at {self.url} ({reason(error)}); "
            "start Docker (in a checkout: make engine), or name another with docker_url"
        )

    async def image(self, name: str) -> dict[str, Any]:
        """An image's description, pulled when the engine lacks it. Raises ImageError, BackendUnavailable."""
        return await self.call(lambda client: _image(client, name))

    async def post(self, path: str, *, timeout: float, **request: Any) -> None:
        """Send what the `docker` package has no function for; `timeout` is in seconds. Raises as `call` does."""

        def send(client: docker.DockerClient) -> None:
            response = client.api.post(f"{client.api.base_url}{path}", timeout=timeout, **request)
            try:
                response.raise_for_status()
            except requests.exceptions.HTTPError as error:
                docker.errors.create_api_error_from_http_exception(error)

        await self.call(send)

    async def remove(self, container: str) -> None:
        """Remove a container; never raises for one that is gone already."""
        try:
            await self.call(lambda client: client.api.remove_container(container, force=True, v=True))
        except (SandboxLost, BackendUnavailable):
            return
        except SandboxError as error:
            if "already in progress" not in str(error):
                raise

    async def network(self) -> str:
        """The public network's name, made when it is missing. Raises BackendUnavailable, SandboxStartError."""
        await self.call(_network)
        return NETWORK

    async def close(self) -> None:
        """Let go of the engine; a later call takes hold of it again."""
        client, self._client = self._client, None
        threads, self._threads = self._threads, ThreadPoolExecutor(THREADS, thread_name_prefix="docker")
        if client is not None:
            await asyncio.to_thread(client.close)
        threads.shutdown(wait=False)


def reason(error: BaseException) -> str:
    """Why no engine answers, in a few words: the `docker` package and its libraries wrap the system's error often."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return str(inner.strerror)
        inner = inner.__cause__ or inner.__context__
    return " ".join(str(error).split())[:200] or type(error).__name__


def _image(client: docker.DockerClient, name: str) -> dict[str, Any]:
    try:
        return dict(client.images.get(name).attrs)
    except docker.errors.ImageNotFound:
        pass
    try:
        client.images.pull(name)
        return dict(client.images.get(name).attrs)
    except docker.errors.APIError as error:
        why = error.explanation or error
        raise ImageError(f"there is no image {name!r}, and it cannot be pulled: {why}") from None


def _network(client: docker.DockerClient) -> None:
    """Have one public network: an engine lets two farms make it at the same moment, and then its name means neither."""
    found = _networks(client)
    if not found:
        options = {"com.docker.network.bridge.enable_icc": "false"}
        try:
            client.networks.create(NETWORK, driver="bridge", options=options, check_duplicate=True)
        except docker.errors.APIError as error:
            if "already exists" not in str(error):  # another farm was quicker
                raise
        found = _networks(client)
    left = len(found)
    for network in reversed(found):  # all farms in the same order, so that all keep the same one
        if left <= 1:
            break
        try:
            client.api.remove_network(network)
            left -= 1
        except docker.errors.NotFound:
            left -= 1
        except docker.errors.APIError:  # in use: then an older one goes
            continue


def _networks(client: docker.DockerClient) -> list[str]:
    """The ids of the networks of that name, oldest first."""
    found = [one for one in client.api.networks(names=[NETWORK]) if one["Name"] == NETWORK]  # it matches parts of names
    return [one["Id"] for one in sorted(found, key=lambda one: (one["Created"], one["Id"]))]


def _refused(error: docker.errors.APIError) -> SandboxError:
    """What the engine refused, as the farm's own error."""
    text = error.explanation or str(error)
    if _in_doubt(error):
        return SandboxStartError(f"the engine refused: {text}", cause="network")
    if isinstance(error, docker.errors.NotFound):
        return SandboxLost(f"the container is gone: {error.explanation}", cause="removed")
    if "unknown runtime" in text.lower():
        return SandboxStartError(f"the engine does not offer this isolation: {text}")
    return SandboxStartError(f"the engine refused: {text}")


def _in_doubt(error: docker.errors.APIError) -> bool:
    """Whether the engine refused because several farms are making the public network just now."""
    doubt = rf"network ({NETWORK}|[0-9a-f]{{64}}) (is ambiguous|not found)|matches found.* network {NETWORK} "
    return re.search(doubt, str(error)) is not None
