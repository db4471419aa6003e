"""The proxies of a farm in a cluster: whose they are, and what goes with them."""

from __future__ import annotations

import asyncio

import pytest

from envfarm.k8s import egress as ways
from envfarm.k8s import faults, labels
from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.pods import Pod
from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.errors import SandboxLost, SandboxStartError
from envfarm.toolbox.sandboxes.base import WARM, Sandbox, SandboxSpec

from .conftest import Open, gone

LOOK = "wget -q -O - http://listed.test/ 2>&1 | head -1; echo $http_proxy"


@pytest.fixture
def listed(spec: SandboxSpec, egress: EgressConfig) -> SandboxSpec:
    """A sandbox with a list; `egress` is what gives this module's back ends their proxies' image."""
    return spec.model_copy(update={"network": "allowlist", "allowed_hosts": ("listed.test",)})


async def over(backend: KubernetesBackend, name: str) -> None:
    """Wait until a pod is gone."""
    await backend.pods.until(name, lambda pod: True if pod is None else None, 60)


async def test_a_proxy_is_its_sandboxs_and_nobodys_sandbox(backend: KubernetesBackend, listed: SandboxSpec) -> None:
    sandbox = await backend.start(listed, owner="tests", lease="x")
    name = ways.name(sandbox.id)
    raw = await backend.api.request("GET", f"{backend.path}/{name}")
    [owner] = raw["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("Pod", sandbox.id)
    assert not raw["spec"].get("volumes")  # no token
    assert [one.id for one in await backend.find("tests")] == [sandbox.id]
    assert await backend.reap("tests", keep=[sandbox.id]) == []
    assert await backend.reaper.sweep() == []
    assert b"http://10." in (await sandbox.run(LOOK)).stdout
    before = backend.api.requests.copy()
    await sandbox.close()
    await over(backend, name)
    assert (backend.api.requests - before)["DELETE pods"] == 1  # the cluster does the rest


async def test_it_goes_with_a_sandbox_that_somebody_removes(backend: KubernetesBackend, listed: SandboxSpec) -> None:
    sandbox = await backend.start(listed, owner="tests", lease="x")
    await backend.api.request("DELETE", f"{backend.path}/{sandbox.id}")
    with pytest.raises(SandboxLost) as caught:
        await sandbox.run("sleep 60", timeout=90)
    assert caught.value.cause == "removed"
    await over(backend, ways.name(sandbox.id))


async def test_the_reaper_takes_both(open_backend: Open, listed: SandboxSpec) -> None:
    dead, alive = open_backend(orphan_seconds=3600), open_backend(orphan_seconds=0.3)
    orphan = await dead.start(listed, owner="dead", lease="x")
    await orphan.detach()
    await dead.close()
    await alive.open()
    removed = []
    for _ in range(3):
        removed += await alive.reaper.sweep()
        await asyncio.sleep(0.4)
    assert removed == [orphan.id]
    await over(alive, ways.name(orphan.id))


async def test_a_start_that_is_given_up_leaves_neither(backend: KubernetesBackend, listed: SandboxSpec) -> None:
    starting = asyncio.create_task(backend.start(listed, owner="tests", lease="x"))
    await backend.open()
    made: list[str] = []
    while not made:
        await asyncio.sleep(0.01)
        made = [pod.name for pod in backend.pods if labels.OWNER not in pod.labels]
    [name] = made
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await over(backend, name)
    assert await gone(backend.api, f"{backend.path}/{name.removesuffix('-egress')}")


async def test_a_warm_one_changes_hands_with_its_way_out(open_backend: Open, listed: SandboxSpec) -> None:
    first, second = open_backend(), open_backend()
    warm = await first.start(listed, owner="first", lease=WARM)
    await first.offer(warm)
    taken = await second.take(listed, owner="second", lease="x")
    while taken is None:  # until its watch has seen the offer
        await asyncio.sleep(0.1)
        taken = await second.take(listed, owner="second", lease="x")
    assert taken.id == warm.id
    assert b"http://10." in (await taken.run(LOOK)).stdout
    await lost(warm)
    assert not await gone(second.api, f"{second.path}/{ways.name(taken.id)}")
    await second.api.request("DELETE", f"{second.path}/{ways.name(taken.id)}")
    assert (await lost(taken)).cause == "egress"


async def lost(sandbox: Sandbox) -> SandboxLost:
    """Wait until a sandbox is lost; why it is."""
    with pytest.raises(SandboxLost) as caught:
        await sandbox.run("sleep 60", timeout=90)
    return caught.value


async def test_pools_do_not_mix(open_backend: Open, listed: SandboxSpec, egress: EgressConfig) -> None:
    other = listed.model_copy(update={"allowed_hosts": ("other.test",)})
    opened = egress.model_copy(update={"hosts": {"listed.test": "192.0.2.7"}})
    template = open_backend().template
    kinds = [template.kind(one, egress) for one in (listed, other)] + [template.kind(listed, opened)]
    assert len(set(kinds)) == 3
    plain = listed.model_copy(update={"network": "none"})
    assert template.kind(plain, egress) == template.kind(plain, opened)


async def test_what_is_no_host_is_refused(backend: KubernetesBackend, listed: SandboxSpec) -> None:
    with pytest.raises(SandboxStartError, match=r"allowed_hosts: '10\.0\.0\.1' is no host's name"):
        await backend.start(listed.model_copy(update={"allowed_hosts": ("10.0.0.1",)}), owner="tests", lease="x")


async def test_an_image_without_the_programs_is_named(open_backend: Open, listed: SandboxSpec, busybox: str) -> None:
    backend = open_backend(egress=EgressConfig(image=busybox), start_seconds=20)
    with pytest.raises(SandboxStartError, match="egress proxy"):
        await backend.start(listed, owner="tests", lease="x")


def pod(**status: object) -> Pod:
    """A proxy's pod, as the watch shows it."""
    return Pod("x-egress", "1", "1", {labels.NETWORK: labels.EGRESS}, {}, 0.0, "node", False, dict(status))


def test_a_proxy_that_started_again_has_died() -> None:
    running = {"name": "proxy", "state": {"running": {}}, "restartCount": 0}
    again = running | {"restartCount": 1, "lastState": {"terminated": {"exitCode": 137}}}
    assert faults.stranded(pod(phase="Running", containerStatuses=[running])) is None
    error = faults.stranded(pod(phase="Running", containerStatuses=[again]))
    assert error is not None
    assert (error.cause, str(error)) == ("egress", "its egress proxy died (exit code 137)")
