"""The API of a cluster: raw JSON over the `kubernetes` package's connection, one rate limit, the farm's own errors."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.connector import Connector
from envfarm.toolbox.errors import BackendUnavailable, SandboxError
from envfarm.toolbox.quota import Bucket

log = logging.getLogger(__name__)

JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
_CHANGES = frozenset({"POST", "PATCH", "PUT", "DELETE"})
_AGAIN = frozenset({429, 500, 502, 503, 504})
_PAUSE, _LONGEST = 0.2, 5.0
_REQUEST = 30.0
_BUFFER = 2 << 20  # bytes of an answer that are read ahead, as the `kubernetes` package has it for watches
_IN_CLUSTER = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete", "GET": "get"}


class ApiRefused(SandboxError):
    """The API understood a request and said no; `status` is HTTP's, `reason` the API's word for it."""

    def __init__(self, message: str, *, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status_code = status
        self.reason = reason


class ApiDenied(BackendUnavailable):
    """The API does not take the farm's credentials, or they do not allow this."""


class ClusterApi:
    """One cluster's API, connected at the first request. Whatever changes the cluster goes through one rate limit."""

    def __init__(self, config: KubernetesConfig) -> None:
        self.config = config
        self.requests: Counter[str] = Counter()  # by verb and resource, for the metrics
        self._api: ApiClient | None = None
        self._connecting = asyncio.Lock()
        self._bucket = Bucket(config.qps, config.burst)
        self._held_until = 0.0  # the API asked everybody to wait

    @property
    def host(self) -> str:
        """The API's address, as far as it is known."""
        return str(self._api.configuration.host) if self._api is not None else str(self.config.kubeconfig or "")

    async def connect(self) -> ApiClient:
        """The `kubernetes` package's client. Raises BackendUnavailable: no file says where the cluster is."""
        async with self._connecting:
            if self._api is None:
                self._api = await _client(self.config)
            return self._api

    async def request(
        self,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        patience: float | None = None,
    ) -> dict[str, Any]:
        """One request, again while the API is away, for `patience` seconds.

        Raises ApiRefused, ApiDenied, BackendUnavailable.
        """
        loop = asyncio.get_running_loop()
        api = await self.connect()
        until = loop.time() + (self.config.patience if patience is None else patience)
        pause, renewed = _PAUSE, False
        while True:
            failure: SandboxError
            try:
                async with await self._send(api, verb, path, query, body, content_type, _REQUEST) as response:
                    data = await response.read()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if self._api is not api:  # and whoever closed it would not close what a new try opens
                    raise BackendUnavailable("the connection to the cluster was closed under a request") from None
                failure = self.away(error)
            else:
                if response.status < 300:
                    return dict(orjson.loads(data)) if data else {}
                failure = self._refusal(response.status, data, verb, path)
                if response.status == 401 and not renewed:
                    renewed = True
                    await self._renew(api)
                    continue
                if response.status not in _AGAIN:
                    raise failure
                if response.status == 429:
                    self._hold(response.headers.get("Retry-After"))
                failure = BackendUnavailable(str(failure))
            if loop.time() + pause > until:
                raise failure
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))
            pause = min(2 * pause, _LONGEST)

    async def lines(self, path: str, query: Mapping[str, str], *, silence: float) -> AsyncGenerator[bytes, None]:
        """The lines of an answer that goes on, until the server ends it; `silence` is the longest, in seconds.

        Raises ApiRefused, ApiDenied, BackendUnavailable.
        """
        try:
            api = await self.connect()
            async with await self._send(api, "GET", path, query, None, "application/json", None, silence) as response:
                if response.status >= 300:
                    raise self._refusal(response.status, await response.read(), "GET", path)
                rest = b""
                async for chunk in response.content.iter_any():
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        yield line
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self.away(error) from None

    async def _send(
        self,
        api: ApiClient,
        verb: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        total: float | None,
        silence: float | None = None,
    ) -> aiohttp.ClientResponse:
        if verb in _CHANGES:
            await self._turn()
        headers = {"Content-Type": content_type, "Accept": "application/json", **await authorization(api)}
        if self._api is not api:
            raise aiohttp.ClientConnectionError("the farm let go of it")
        self.requests[f"{verb} {_resource(path)}"] += 1
        url = f"{api.configuration.host}{path}"
        if query:
            url += f"?{urlencode(query)}"
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=_REQUEST, sock_read=silence)
        answer = await api.rest_client.request(verb, url, headers=headers, body=body, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        wait = max(self._bucket.take(loop.time()), self._held_until - loop.time())
        if wait > 0:
            await asyncio.sleep(wait)

    def _hold(self, seconds: str | None) -> None:
        """Obey the API's own limits (priority and fairness)."""
        wait = float(seconds) if seconds is not None and seconds.isdigit() else 1.0
        self._held_until = asyncio.get_running_loop().time() + wait

    async def _renew(self, api: ApiClient) -> None:
        """Read the credentials again: a file of them, or the program that makes them, may have newer ones."""
        async with self._connecting:
            fresh = await _client(self.config)
            if self._api is api:
                fresh.rest_client, api.rest_client = api.rest_client, fresh.rest_client
                api.configuration = fresh.configuration
            await _close(fresh)

    def away(self, error: BaseException) -> BackendUnavailable:
        """That the API does not answer, and why."""
        why = " ".join(str(error).split())[:200] or type(error).__name__
        return BackendUnavailable(
            f"no Kubernetes API answers at {self.host} ({why}); "
            "start the cluster (in a checkout: make cluster), or name another with kubeconfig"
        )

    def _refusal(self, status: int, data: bytes, verb: str, path: str) -> SandboxError:
        message, reason = said(data)
        message = " ".join(message.split()) or f"HTTP status {status}"
        what = f"{_VERBS.get(verb, verb)} {_resource(path)}"
        if status == 401:
            return ApiDenied(
                f"the cluster does not take the farm's credentials to {what}: expired or revoked; renew kubeconfig"
            )
        if status == 403 and " cannot " in message:
            return ApiDenied(f"the cluster does not let the farm {what}: {message}; apply the farm's Role")
        return ApiRefused(f"the cluster refused to {what}: {message}", status=status, reason=reason)

    async def close(self) -> None:
        """Let go of the connections; a later request connects again."""
        api, self._api = self._api, None
        if api is not None:
            await _close(api)


def said(data: bytes) -> tuple[str, str]:
    """The message and the reason of an API's refusal; of an answer that is none of its own, how it begins."""
    try:
        answer = orjson.loads(data)
        return str(answer["message"]), str(answer.get("reason", ""))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return data[:300].decode("utf-8", "replace").strip(), ""


async def authorization(api: ApiClient) -> dict[str, str]:
    """The header with the bearer token of this moment, if there is one."""
    settings = (await api.configuration.auth_settings()).get("BearerToken")
    return {"Authorization": str(settings["value"])} if settings else {}


async def _client(config: KubernetesConfig) -> ApiClient:
    api = ApiClient(await _configuration(config))
    rest = api.rest_client
    connector = Connector(limit=rest.maxsize, ssl=rest.ssl_context)
    rest.pool_manager = aiohttp.ClientSession(connector=connector, trust_env=True, read_bufsize=_BUFFER)
    return api


async def _close(api: ApiClient) -> None:
    """End its connections, and so the requests that are under way."""
    pool = api.rest_client.pool_manager
    if pool is not None and pool.connector is not None:
        await pool.connector.close()
    await api.close()


async def _configuration(config: KubernetesConfig) -> Configuration:
    made = Configuration()
    made.connection_pool_maxsize = 256
    try:
        if config.kubeconfig is None and not os.environ.get("KUBECONFIG") and os.access(_IN_CLUSTER, os.R_OK):
            load_incluster_config(made)
        else:
            await load_kube_config(str(config.kubeconfig) if config.kubeconfig else None, config.context, made)
    except (ConfigException, OSError) as error:
        raise BackendUnavailable(f"kubeconfig: {error}; name a file with kubeconfig, or set KUBECONFIG") from None
    return made


def _resource(path: str) -> str:
    """`pods` of `/api/v1/namespaces/x/pods/y`, `pods/attach` of what follows it."""
    parts = path.strip("/").split("/")
    rest = parts[parts.index("namespaces") + 2 :] if "namespaces" in parts else parts[2:]
    return "/".join([rest[0], *rest[2:]]) if rest else path
