"""A container's log by the API server and the kubelet: what its main process printed while nobody was attached."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import quote

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from envfarm.k8s.client import authorization
from envfarm.toolbox.errors import BackendUnavailable, SandboxLost
from envfarm.toolbox.sandboxes.stream import PREFIX, TOKEN

_READY = re.compile(re.escape(PREFIX) + rb"[0-9a-f]{%d}:ready:" % TOKEN)
_TIMEOUT = 60.0


async def history(client: ApiClient, namespace: str, pod: str, container: str) -> dict[int, bytes]:
    """What a container printed, as far back as the kubelet has it, which is at least its last 10 MiB by default.

    Both streams apart where API server and kubelet do that (feature gate PodLogsQuerySplitStreams), else only stream 1,
    with both in it. Raises BackendUnavailable, SandboxLost (the pod is gone).
    """
    out, err = await asyncio.gather(*(_read(client, namespace, pod, container, name) for name in ("Stdout", "Stderr")))
    if out is None or err is None:
        return {1: await _read(client, namespace, pod, container, None) or b""}
    if len(_READY.findall(out)) > 1:  # a server that has never heard of streams: it ignores the question
        return {1: out}
    return {1: out, 2: err}


async def _read(client: ApiClient, namespace: str, pod: str, container: str, stream: str | None) -> bytes | None:
    """One stream of the log, or both for None; returns None when the server will not tell them apart."""
    query = [("container", container)] + ([] if stream is None else [("stream", stream)])
    headers = {**client.default_headers, "Accept": "*/*", **await authorization(client)}
    path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log"
    url = f"{client.configuration.host}{path}?" + "&".join(f"{key}={quote(value)}" for key, value in query)
    try:
        request: Any = client.rest_client.request  # which has no types
        answer = await request("GET", url, headers=headers, _request_timeout=_TIMEOUT)
        data: bytes = await answer.read()
    except (TimeoutError, OSError, aiohttp.ClientError, ApiException) as error:
        raise BackendUnavailable(f"the log of {pod} cannot be read: {error!r}") from None
    if answer.status == 200:
        return data
    if answer.status == 404:
        raise SandboxLost(f"the pod {pod} is gone", cause="removed")
    if stream is not None and answer.status in (400, 422):
        return None
    raise BackendUnavailable(
        f"the log of {pod} cannot be read ({answer.status}): {data[:300].decode('utf-8', 'replace')}"
    )
