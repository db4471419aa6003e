"""What the tests of the stream share: pods of their own, and a way to the API server that can be cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest_asyncio

from ..conftest import Cluster
from .pods import Pods
from .proxy import Proxy


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pods(cluster: Cluster, docker_base: str) -> AsyncIterator[Pods]:
    """Makes pods."""
    made = Pods(str(cluster.kubeconfig), cluster.push(docker_base))
    await made.open()
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def proxy(pods: Pods) -> AsyncIterator[Proxy]:
    """A way to the API server."""
    parts = urlsplit(pods.api.configuration.host)
    async with Proxy(parts.hostname or "", parts.port or 443) as opened:
        yield opened
