"""The back end: what it costs the API, and that its pods outlive it."""

from __future__ import annotations

import asyncio

from envfarm.k8s.backend import KubernetesBackend
from envfarm.toolbox.sandboxes.base import Limits, SandboxSpec

from .conftest import Open


async def test_requests_are_as_many_as_sandboxes_and_not_as_commands(
    backend: KubernetesBackend, spec: SandboxSpec
) -> None:
    sandboxes = await asyncio.gather(*(backend.start(spec, owner="tests", lease=str(i)) for i in range(2)))
    before = backend.api.requests.copy()
    for _ in range(500):
        for sandbox in sandboxes:
            await sandbox.run("true", session="agent")
    during = backend.api.requests - before
    assert during.total() <= 2, during  # a watch that begins anew
    await asyncio.gather(*(sandbox.close() for sandbox in sandboxes))
    made = {key: backend.api.requests[key] for key in ("POST pods", "DELETE pods", "GET pods")}
    assert made["POST pods"] == 3  # with the template's trial
    assert made["DELETE pods"] == 2
    assert made["GET pods"] <= 4  # a list and a watch


async def test_what_the_pod_says_of_its_owner_in_full(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    owner = "an owner/with a name that no label can hold " * 2
    sandbox = await backend.start(spec, owner=owner, lease="épisode 1")
    [info] = await backend.find(owner)
    assert (info.id, info.owner, info.lease, info.running) == (sandbox.id, owner, "épisode 1", True)


async def test_a_server_that_starts_again_finds_everything(open_backend: Open, spec: SandboxSpec) -> None:
    first, second = open_backend(), open_backend()
    sandboxes = await asyncio.gather(*(first.start(spec, owner="tests", lease=str(i)) for i in range(3)))
    for number, sandbox in enumerate(sandboxes):
        await sandbox.run(f"export N={number}", session="agent")
        await sandbox.detach()
    await first.close()
    found = {info.lease: info.id for info in await second.find("tests")}
    for number, sandbox in enumerate(sandboxes):
        assert found[str(number)] == sandbox.id
        again = await second.attach(sandbox.id)
        assert again.spec == sandbox.spec
        assert (await again.run("echo $N", session="agent")).stdout == b"%d\n" % number
    assert sorted(await second.reap("tests", keep=[sandboxes[0].id])) == sorted(one.id for one in sandboxes[1:])


async def test_limits_and_privileges_reach_the_pod(backend: KubernetesBackend, spec: SandboxSpec) -> None:
    changes = {"limits": Limits(cpus=0.5, memory_mb=300, disk_mb=200), "network": "none"}
    sandbox = await backend.start(spec.model_copy(update=changes), owner="tests", lease="x")
    raw = await backend.api.request("GET", f"{backend.path}/{sandbox.id}")
    [container] = raw["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "300Mi", "ephemeral-storage": "200Mi"}
    assert "/envfarm/busybox@sha256:" in container["image"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert raw["spec"]["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert not raw["spec"].get("volumes")  # no token
    assert b"KUBERNETES" not in (await sandbox.run("env")).stdout
    up = "for i in /sys/class/net/*; do ip link set ${i##*/} up && [ ${i##*/} != lo ] && echo up $i; done"
    assert (await sandbox.run(up)).stdout == b""
    assert (await sandbox.run("tail -n +2 /proc/net/route")).stdout == b""
