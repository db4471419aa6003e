"""The cache of pods: one list, one watch, through whatever happens to the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import yaml

from envfarm.k8s import faults
from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.client import JSON_PATCH, ApiRefused, ClusterApi
from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.pods import Pod
from envfarm.toolbox.sandboxes.base import SandboxSpec

from ..conftest import Cluster
from .conftest import Open, kubeconfig
from .proxy import Proxy


@pytest_asyncio.fixture
async def cut(cluster: Cluster) -> AsyncIterator[Proxy]:
    """A way to the API server of this test's own."""
    server = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    parts = urlsplit(server)
    async with Proxy(parts.hostname or "", parts.port or 443) as way:
        yield way


@pytest.fixture
def through(cut: Proxy, cluster: Cluster, tmp_path: Path) -> Path:
    """A kubeconfig that leads there."""
    return kubeconfig(cluster, tmp_path / "kubeconfig", server=cut.url)


async def pod(backend: KubernetesBackend, name: str, **spec: Any) -> None:
    """One more pod of the farm, that nobody holds."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"envfarm.io/farm": backend.config.farm, "envfarm.io/owner": "tests"}},
        "spec": {
            "containers": [{"name": "sandbox", "image": backend.config.cut_image, "command": ["sleep", "1000"]}],
            "terminationGracePeriodSeconds": 0,
            **spec,
        },
    }
    await backend.api.request("POST", backend.path, body=body)


async def remembers(backend: KubernetesBackend, version: str) -> bool:
    """Whether the server can still tell what happened to pods since a version."""
    query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "1"}
    try:
        async for line in backend.api.lines(backend.path, query, silence=30):
            return b'"code":410' not in line
    except ApiRefused as error:
        return error.status_code != 410
    return True


def there(pod: Pod | None) -> bool | None:
    return True if pod is not None else None


def missing(pod: Pod | None) -> bool | None:
    return True if pod is None else None


async def test_what_others_make_and_remove_is_seen(backend: KubernetesBackend, open_backend: Open) -> None:
    other = open_backend()
    await backend.open()
    await pod(other, "seen")
    await backend.pods.until("seen", there, 30)
    ready = await backend.pods.until("seen", faults.started, 60)
    assert (ready.running, ready.labels["envfarm.io/owner"]) == (True, "tests")
    await other.api.request("DELETE", f"{backend.path}/seen")
    await backend.pods.until("seen", missing, 30)
    with pytest.raises(TimeoutError):
        await backend.pods.until("seen", there, 0.1)


async def test_a_connection_that_is_cut_loses_nothing(
    cut: Proxy, through: Path, backend: KubernetesBackend, open_backend: Open
) -> None:
    watcher = open_backend(kubeconfig=through)
    await watcher.open()
    for number in range(5):
        await pod(backend, f"cut-{number}")
        cut.cut()
        await watcher.pods.until(f"cut-{number}", there, 30)
    assert watcher.pods.lists == 1  # it went on from where it was


async def test_an_api_server_that_is_away_and_comes_back(
    cut: Proxy, through: Path, backend: KubernetesBackend, open_backend: Open, spec: SandboxSpec
) -> None:
    watcher = open_backend(kubeconfig=through, patience=60)
    await watcher.open()
    async with cut.outage():
        await pod(backend, "meanwhile")
        starting = asyncio.create_task(watcher.start(spec, owner="tests", lease="x"))
        await asyncio.sleep(1.5)
        assert watcher.pods.get("meanwhile") is None
    await watcher.pods.until("meanwhile", there, 30)
    assert (await (await starting).run("echo fine")).stdout == b"fine\n"


async def test_a_version_that_the_server_has_forgotten_is_read_anew(
    cut: Proxy, through: Path, backend: KubernetesBackend, open_backend: Open
) -> None:
    watcher = open_backend(kubeconfig=through)
    await watcher.open()
    if await remembers(backend, "1"):
        pytest.skip("the API server is too young to have forgotten anything")
    await pod(backend, "before")
    await watcher.pods.until("before", there, 30)
    async with cut.outage():
        await backend.api.request("DELETE", f"{backend.path}/before")
        await pod(backend, "after")
        watcher.pods._version = "1"  # as after hours: the server answers 410
    await watcher.pods.until("after", there, 30)
    await watcher.pods.until("before", missing, 30)
    assert watcher.pods.lists == 2


async def test_a_pod_that_we_removed_is_gone_at_once(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    sandbox = await backend.start(spec, owner="tests", lease="x")
    await sandbox.close()
    assert backend.pods.get(sandbox.id) is None  # before the watch says so


@pytest.mark.parametrize("first", ["ours", "watch"])
async def test_a_change_of_ours_is_timed_until_the_watch_shows_it(backend: KubernetesBackend, first: str) -> None:
    """And not at all where the watch was quicker than the API's answer to us."""
    await backend.open()
    await pod(backend, "it", schedulingGates=[{"name": "envfarm.io/never"}])  # so that nobody else changes it
    raw = await backend.api.request("GET", f"{backend.path}/it")
    version = int(raw["metadata"]["resourceVersion"])

    def shown(pod: Pod | None) -> bool | None:
        return True if pod is not None and int(pod.version) >= version else None

    await backend.pods.until("it", shown, 30)
    if first == "ours":
        newest = int((await _label(backend, "before"))["metadata"]["resourceVersion"])
        raw["metadata"]["resourceVersion"] = str(newest + 1)
    backend.pods.put(raw)
    await _label(backend, "after")
    await backend.pods.until("it", lambda pod: True if pod is not None and "after" in pod.labels else None, 30)
    assert (backend.pods.lag > 0) == (first == "ours")


async def _label(backend: KubernetesBackend, name: str) -> dict[str, Any]:
    change = [{"op": "add", "path": f"/metadata/labels/{name}", "value": "it"}]
    return await backend.api.request("PATCH", f"{backend.path}/it", body=change, content_type=JSON_PATCH)


async def test_a_farm_sees_its_own_pods_only(backend: KubernetesBackend, open_backend: Open) -> None:
    other = open_backend(farm="another")
    await backend.open()
    await pod(other, "theirs")
    await pod(backend, "ours")
    await backend.pods.until("ours", there, 30)
    assert [one.name for one in backend.pods] == ["ours"]
    await other.api.request("DELETE", f"{backend.path}/theirs")


async def test_many_pods_are_read_in_pages(config: KubernetesConfig, backend: KubernetesBackend) -> None:
    await asyncio.gather(*(pod(backend, f"many-{number}") for number in range(12)))
    api = ClusterApi(config)
    page = await api.request("GET", backend.path, query={"limit": "5", "labelSelector": "envfarm.io/farm"})
    assert page["metadata"]["continue"]  # so the server does page
    await backend.open()
    assert len(backend.pods) == 12
    await api.close()
