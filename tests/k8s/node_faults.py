"""What befalls a node, on a cluster that nobody else uses: `test_node.py` runs these in namespaces of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.pod import Template
from envfarm.toolbox.errors import SandboxLost
from envfarm.toolbox.sandboxes.base import Limits, Sandbox, SandboxSpec

IMAGE = "localhost:5000/envfarm/busybox:1"
SPEC = SandboxSpec(image=IMAGE, limits=Limits(cpus=1, memory_mb=128), network="public")
Open = Callable[..., KubernetesBackend]


async def script(*words: str, stdin: str = "") -> None:
    """A command, which must succeed: `node` is scripts/cluster/node.sh of this cluster."""
    words = (os.environ["NODE_SCRIPT"], *words[1:]) if words[0] == "node" else words
    done = await asyncio.to_thread(subprocess.run, words, input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"


@pytest_asyncio.fixture
async def open_backend(tmp_path: Path) -> AsyncIterator[Open]:
    """Makes a back end; keywords go into its template's pod, a time-out into its settings."""
    made: list[KubernetesBackend] = []

    def make(reattach: float = 300.0, **pod: Any) -> KubernetesBackend:
        shipped = yaml.safe_load(Template.load(None).text)
        template = tmp_path / "pod.yaml"
        template.write_text(yaml.safe_dump(shipped | {"spec": shipped["spec"] | pod}))
        config = KubernetesConfig(namespace="default", prove=False, template=template, reattach_seconds=reattach)
        made.append(KubernetesBackend(config))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def start(backend: KubernetesBackend) -> Sandbox:
    return await backend.start(SPEC, owner="tests", lease="x")


async def works(backend: KubernetesBackend) -> None:
    """The farm goes on: another sandbox starts, and then nothing is left."""
    sandbox = await start(backend)
    assert (await sandbox.run("echo it")).stdout == b"it\n"
    await sandbox.close()
    assert await backend.find("tests") == []


async def lost(sandbox: Sandbox) -> str:
    """Why it is lost, to a command that runs meanwhile."""
    with pytest.raises(SandboxLost) as error:
        await sandbox.run("sleep 1000", timeout=900)
    await sandbox.close()
    return error.value.cause


@pytest.mark.parametrize("program", ["kubelet", "containerd"])
async def test_a_command_goes_on_while_a_program_of_its_node_is_killed(open_backend: Open, program: str) -> None:
    backend = open_backend()
    sandbox = await start(backend)
    await sandbox.run("echo 1 >> /tmp/runs", session="agent")
    call = asyncio.create_task(sandbox.run("echo 2 >> /tmp/runs; sleep 6; cat /tmp/runs", session="agent", timeout=200))
    await asyncio.sleep(1)
    await script("node", "kill", program)
    await script("node", "start", program)
    assert (await call).stdout == b"1\n2\n"
    assert (await sandbox.run("echo more", session="agent")).stdout == b"more\n"
    await sandbox.close()
    await works(backend)


async def test_a_taint_that_evicts(open_backend: Open) -> None:
    backend = open_backend()
    call = asyncio.create_task(lost(await start(backend)))
    await script("kubectl", "taint", "node", "--all", "it=bad:NoExecute")
    try:
        assert await call == "evicted"
    finally:
        await script("kubectl", "taint", "node", "--all", "it=bad:NoExecute-")
    await works(backend)


async def test_a_pod_of_higher_priority_takes_the_place(open_backend: Open) -> None:
    for name, value in (("low", 1), ("high", 1000)):
        await script("kubectl", "create", "priorityclass", name, f"--value={value}")
    backend = open_backend(priorityClassName="low")
    call = asyncio.create_task(lost(await start(backend)))
    container = {"name": "it", "image": IMAGE, "command": ["sleep", "1000"]}
    container["resources"] = {"requests": {"cpu": f"{(os.cpu_count() or 2) - 0.5}"}}
    spec = {"priorityClassName": "high", "terminationGracePeriodSeconds": 0, "containers": [container]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "high"}, "spec": spec}
    await script("kubectl", "apply", "-f", "-", stdin=yaml.safe_dump(body))
    assert await call == "preempted"
    await script("kubectl", "delete", "pod", "high")
    await works(backend)


@pytest.mark.soak
async def test_a_node_that_no_longer_answers(open_backend: Open) -> None:
    """Its kubelet is dead: after a minute the cluster says so, and after a while more the farm gives the sandbox up.

    A cluster that has other nodes evicts the pod meanwhile, as by any taint; one that has lost all does nothing.
    """
    backend = open_backend(reattach=90.0)
    call = asyncio.create_task(lost(await start(backend)))
    await script("node", "kill", "kubelet")
    try:
        assert await call == "node"
    finally:
        await script("node", "start", "kubelet")
    await works(backend)
