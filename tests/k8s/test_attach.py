"""The attached stream of a pod's main process: bytes, errors and what it costs."""

from __future__ import annotations

import asyncio
import hashlib
import random
import resource
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from envfarm.k8s.attach import attach
from envfarm.toolbox.errors import BackendUnavailable, SandboxLost

from .pods import NAME, Pods, PodSandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(pods: Pods) -> AsyncIterator[PodSandbox]:
    """A pod that has greeted."""
    started = await pods.start()
    yield started
    await started.close()


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_both_protocols(pods: Pods, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    monkeypatch.setattr("envfarm.k8s.attach.PROTOCOLS", (protocol,))
    sandbox = await pods.start()
    data = random.Random(1).randbytes(3_000_000)
    result = await sandbox.run("tee /dev/stderr; exit 3", stdin=data, output_limit=1 << 24)
    assert (result.exit_code, result.stdout, result.stderr) == (3, data, data)
    await sandbox.close()


@pytest.mark.parametrize("chunk", [1, 125, 126, 65_534, 65_535, 1 << 20])
async def test_messages_of_every_length(sandbox: PodSandbox, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("envfarm.k8s.attach.CHUNK", chunk)
    data = random.Random(chunk).randbytes(min(100_000, 500 * chunk))
    result = await sandbox.run("md5sum", stdin=data)
    assert result.stdout.split()[0].decode() == hashlib.md5(data).hexdigest()


async def test_100_mb_in_bounded_memory(sandbox: PodSandbox) -> None:
    await sandbox.run("head -c 1000000 /dev/zero")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = await sandbox.run("head -c 100000000 /dev/zero", timeout=200)
    assert result.stdout_info.total == 100_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 << 10  # KiB


async def test_a_main_process_that_ends_ends_the_stream(pods: Pods) -> None:
    sandbox = await pods.start()
    call = asyncio.create_task(sandbox.run("sleep 1000", timeout=2000))
    await asyncio.sleep(0.2)
    await pods.core.delete_namespaced_pod(sandbox.id, pods.namespace, grace_period_seconds=0)
    with pytest.raises(SandboxLost) as lost:
        await call
    assert lost.value.cause in ("removed", "killed")


async def test_no_such_pod(pods: Pods) -> None:
    with pytest.raises(SandboxLost) as lost:
        await attach(pods.api, pods.namespace, "nobody", NAME, lambda *_: None, lambda: None)
    assert lost.value.cause == "removed"


async def test_no_server_and_no_permission(pods: Pods, sandbox: PodSandbox) -> None:
    api = await pods.connect("https://127.0.0.1:1")
    with pytest.raises(BackendUnavailable, match="no API server answers"):
        await attach(api, pods.namespace, sandbox.id, NAME, lambda *_: None, lambda: None)
    await api.close()
    api = await pods.connect()
    api.rest_client.ssl_context = type(api.rest_client.ssl_context)()  # one without the client's certificate
    api.rest_client.ssl_context.load_verify_locations(api.configuration.ssl_ca_cert)
    with pytest.raises(BackendUnavailable, match="refuses get and create of pods/attach"):
        await attach(api, pods.namespace, sandbox.id, NAME, lambda *_: None, lambda: None)
    await api.close()


async def test_two_streams_at_once(pods: Pods, sandbox: PodSandbox) -> None:
    seen: dict[int, bytes] = {1: b"", 2: b""}

    def feed(stream: int, data: bytes) -> None:
        seen[stream] += data

    other = await attach(pods.api, pods.namespace, sandbox.id, NAME, feed, lambda: None)
    await asyncio.sleep(0.5)
    result = await sandbox.run("echo both; echo errors >&2")
    assert (result.stdout, result.stderr) == (b"both\n", b"errors\n")
    while b"both\n" not in seen[1] or b"errors\n" not in seen[2]:  # noqa: ASYNC110 (another process brings them)
        await asyncio.sleep(0.05)
    other.close()
    assert (await sandbox.run("echo on")).stdout == b"on\n"
