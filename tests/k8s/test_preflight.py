"""The preflight finds what is in reach, and that nothing is where the network is cut."""

from __future__ import annotations

import io

import docker
import pytest

from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.preflight import preflight
from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.errors import SandboxStartError
from envfarm.toolbox.sandboxes.base import Isolation, SandboxSpec

from ..conftest import Cluster
from .conftest import Open

UNCUT = "envfarm-tests/uncut:1"
NAMES = {"itself", "api", "kubelet", "metadata", "sandbox", "dns", "internet"}


@pytest.mark.parametrize("isolation", ["runc", "gvisor"])
@pytest.mark.parametrize("name", ["base", "busybox"])
async def test_nothing_is_in_reach_of_a_sandbox_without_network(
    backend: KubernetesBackend, cluster: Cluster, docker_base: str, spec: SandboxSpec, isolation: Isolation, name: str
) -> None:
    if isolation == "gvisor" and not cluster.gvisor:
        pytest.skip("the cluster offers no gVisor")
    changes = {"network": "none", "isolation": isolation}
    if name == "base":
        changes["image"] = cluster.push(docker_base)
    findings = await preflight(backend, spec.model_copy(update=changes))
    assert {one.name for one in findings} == NAMES
    assert [one for one in findings if not one.ok] == []


@pytest.mark.parametrize("isolation", ["runc", "gvisor"])
async def test_only_its_proxy_is_in_reach_of_a_sandbox_with_an_allowlist(
    backend: KubernetesBackend, cluster: Cluster, egress: EgressConfig, spec: SandboxSpec, isolation: Isolation
) -> None:
    if isolation == "gvisor" and not cluster.gvisor:
        pytest.skip("the cluster offers no gVisor")
    changes = {"network": "allowlist", "isolation": isolation, "image": egress.image}
    findings = await preflight(backend, spec.model_copy(update=changes))
    assert {one.name for one in findings} == NAMES | {"proxy"}
    assert {one.name for one in findings if one.reached} == {"itself", "proxy"}
    assert [one for one in findings if not one.ok] == []


async def test_where_an_allowlist_is_not_kept_none_starts(
    open_backend: Open, cluster: Cluster, egress: EgressConfig, spec: SandboxSpec, engine: docker.DockerClient
) -> None:
    """An image whose programs do nothing stands for every way in which the cut may fail without a word."""
    route = """RUN mv /bin/ip /bin/real && echo '#!/bin/sh' >/bin/ip && chmod +x /bin/ip"""
    route += """ && echo 'case "$*" in *get*) exec /bin/real "$@";; esac' >>/bin/ip"""
    filters = "RUN cd /usr/sbin && for one in ip*tables-*-restore; do ln -sf /bin/true $one; done"
    recipe = f"FROM {egress.image}\nUSER 0\n{route}\n{filters}\nUSER 65534\n"
    engine.images.build(fileobj=io.BytesIO(recipe.encode()), tag=UNCUT, network_mode="none", rm=True)
    backend = open_backend(prove=True, egress=EgressConfig(image=cluster.pin(UNCUT)))
    wanted = spec.model_copy(update={"network": "allowlist"})
    with pytest.raises(SandboxStartError, match=r"network allowlist: .*could reach .*kubelet.*kubernetes\.prove"):
        await backend.start(wanted, owner="tests", lease="own")
    none = await backend.start(spec.model_copy(update={"network": "none"}), owner="tests", lease="own")
    await none.close()


async def test_what_is_in_reach_is_found(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    """Pods of this cluster, whose network nobody polices, reach the node and each other."""
    findings = await preflight(backend, spec)
    assert {one.name for one in findings} == NAMES - {"internet"}
    reached = {one.name for one in findings if one.reached}
    assert {"itself", "api", "kubelet", "sandbox"} <= reached
    assert not next(one for one in findings if one.name == "kubelet").ok
    assert await backend.find("preflight") == []


async def test_a_sandbox_without_network_waits_for_the_proof(open_backend: Open, spec: SandboxSpec) -> None:
    backend = open_backend(prove=True)
    sandbox = await backend.start(spec.model_copy(update={"network": "none"}), owner="tests", lease="own")
    assert (await sandbox.run("echo here")).stdout == b"here\n"
    await sandbox.close()


async def test_where_the_network_is_not_cut_none_starts(
    open_backend: Open, cluster: Cluster, spec: SandboxSpec
) -> None:
    if not cluster.gvisor:
        pytest.skip("the cluster offers no gVisor")
    classes = {"runc": "", "gvisor": "gvisor", "gvisor-nonet": "gvisor"}  # an operator's mistake
    backend = open_backend(prove=True, runtime_classes=classes)
    wanted = spec.model_copy(update={"network": "none", "isolation": "gvisor"})
    with pytest.raises(SandboxStartError, match=r"could reach .*kubelet.*kubernetes\.prove"):
        await backend.start(wanted, owner="tests", lease="own")
    sandbox = await open_backend(prove=False, runtime_classes=classes).start(wanted, owner="tests", lease="own")
    await sandbox.close()
