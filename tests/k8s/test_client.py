"""The connection: what the API refuses has a cause that a person can act on, and its limits are kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from envfarm.k8s.client import ApiDenied, ApiRefused, ClusterApi
from envfarm.k8s.config import KubernetesConfig
from envfarm.toolbox.errors import BackendUnavailable
from envfarm.toolbox.sandboxes.base import SandboxSpec

from ..conftest import Cluster
from .conftest import Open, kubeconfig

ROLE = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "list", "watch", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods/attach"], "verbs": ["create", "get"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "list", "patch", "delete"]},
]
"""All that the back end needs."""


@pytest_asyncio.fixture
async def admin(config: KubernetesConfig) -> AsyncIterator[ClusterApi]:
    api = ClusterApi(config)
    yield api
    await api.close()


@pytest_asyncio.fixture
async def account(admin: ClusterApi, cluster: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[Path]:
    """The kubeconfig of an account that may do what the back end needs, and no more."""
    core, rbac = f"/api/v1/namespaces/{namespace}", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    about = {"name": "farm"}
    await admin.request("POST", f"{core}/serviceaccounts", body={"metadata": about})
    await admin.request("POST", f"{rbac}/roles", body={"metadata": about, "rules": ROLE})
    binding: dict[str, Any] = {
        "metadata": about,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "farm"},
        "subjects": [{"kind": "ServiceAccount", "name": "farm", "namespace": namespace}],
    }
    await admin.request("POST", f"{rbac}/rolebindings", body=binding)
    given = await admin.request("POST", f"{core}/serviceaccounts/farm/token", body={"spec": {"expirationSeconds": 600}})
    yield kubeconfig(cluster, tmp_path / "kubeconfig", token=given["status"]["token"])
    for one in (f"{rbac}/rolebindings/farm", f"{rbac}/roles/farm", f"{core}/serviceaccounts/farm"):
        with contextlib.suppress(ApiRefused):  # the test removed it
            await admin.request("DELETE", one)


async def test_the_smallest_role_is_enough(open_backend: Open, account: Path, spec: SandboxSpec) -> None:
    backend = open_backend(kubeconfig=account)
    sandbox = await backend.start(spec, owner="tests", lease="x")
    assert (await sandbox.run("echo fine")).stdout == b"fine\n"
    await sandbox.detach()
    again = await backend.attach(sandbox.id)
    assert await backend.claim(again, owner="tests", lease="y")
    assert await backend.reaper.sweep() == []
    await again.close()


async def test_credentials_that_were_revoked(
    open_backend: Open, account: Path, admin: ClusterApi, namespace: str, spec: SandboxSpec
) -> None:
    backend = open_backend(kubeconfig=account, patience=1)
    await backend.open()
    await admin.request("DELETE", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings/farm")
    for _ in range(100):  # the server's own caches
        try:
            await backend.api.request("GET", f"{backend.path}/none")
        except ApiDenied:
            break
        except ApiRefused:
            await asyncio.sleep(0.1)
    with pytest.raises(BackendUnavailable, match=r"does not let the farm patch leases: .*; apply the farm's Role"):
        await backend.start(spec, owner="tests", lease="x")
    await admin.request("DELETE", f"/api/v1/namespaces/{namespace}/serviceaccounts/farm")
    for _ in range(150):
        try:
            await backend.api.request("GET", f"{backend.path}/none")
        except ApiDenied as error:
            if "expired or revoked" in str(error):
                break
        await asyncio.sleep(0.1)
    with pytest.raises(BackendUnavailable, match=r"expired or revoked; renew kubeconfig"):
        await backend.start(spec, owner="tests", lease="x")


async def test_a_token_that_was_renewed_in_the_file_is_read_again(
    config: KubernetesConfig, cluster: Cluster, account: Path, namespace: str, tmp_path: Path
) -> None:
    file = kubeconfig(cluster, tmp_path / "renewed", token="expired")
    api = ClusterApi(config.model_copy(update={"kubeconfig": file}))
    path = f"/api/v1/namespaces/{namespace}/pods"
    with pytest.raises(ApiDenied, match="expired or revoked"):
        await api.request("GET", path)
    account.replace(file)  # noqa: ASYNC240 - a rename
    assert "items" in await api.request("GET", path)
    await api.close()


async def test_no_cluster(tmp_path: Path, cluster: Cluster) -> None:
    missing = ClusterApi(KubernetesConfig(kubeconfig=tmp_path / "none"))
    with pytest.raises(BackendUnavailable, match="kubeconfig"):
        await missing.request("GET", "/version")
    file = kubeconfig(cluster, tmp_path / "away", server="https://127.0.0.1:1")
    away = ClusterApi(KubernetesConfig(kubeconfig=file, patience=0.5))
    with pytest.raises(BackendUnavailable, match=r"no Kubernetes API answers at https://127.0.0.1:1 .*kubeconfig"):
        await away.request("GET", "/version")
    await away.close()


async def test_changes_keep_to_the_rate_and_reading_does_not(config: KubernetesConfig) -> None:
    api = ClusterApi(config.model_copy(update={"qps": 5.0, "burst": 1}))
    path = f"/api/v1/namespaces/{config.namespace}/pods"
    loop = asyncio.get_running_loop()

    async def remove() -> None:
        with pytest.raises(ApiRefused):
            await api.request("DELETE", f"{path}/none")

    began = loop.time()
    await asyncio.gather(*(remove() for _ in range(6)))
    assert loop.time() - began >= 0.95  # no sooner, however quick the machine: five more at five a second
    assert api.requests["DELETE pods"] == 6
    await api.close()


async def test_requests_under_way_end_with_the_connection(config: KubernetesConfig) -> None:
    path = f"/api/v1/namespaces/{config.namespace}/pods"
    for hundredths in range(8):
        api = ClusterApi(config)
        calls = [asyncio.create_task(api.request("GET", path)) for _ in range(4)]
        await asyncio.sleep(hundredths / 100)
        calls[0].cancel()
        await api.close()
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(answer, dict | BackendUnavailable | asyncio.CancelledError)
        assert "items" in await api.request("GET", path)
        await api.close()
