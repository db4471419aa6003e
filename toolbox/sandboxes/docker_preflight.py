"""Proves from inside a probe sandbox that an allowlist keeps it from everything but its proxy."""

from __future__ import annotations

from envfarm.toolbox.egress.proxy import PORT
from envfarm.toolbox.sandboxes.base import Isolation, Limits, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend, DockerSandbox
from envfarm.toolbox.sandboxes.reach import CLOSED, Finding, reach

_PROXY = "proxy"


async def preflight(backend: DockerBackend, isolation: Isolation, *, owner: str) -> list[Finding]:
    """Try from a sandbox with an empty list to reach what no model may, and its proxy, which it must.

    Raises SandboxError, ImageError: no probe could be made.
    """
    limits = Limits(cpus=0.5, memory_mb=256, pids=256)
    spec = SandboxSpec(image=backend.egress.image, isolation=isolation, network="allowlist", limits=limits)
    looker = await backend.start(spec, owner=owner, lease="preflight")
    try:
        public = spec.model_copy(update={"network": "public", "isolation": "runc"})
        peer = await backend.start(public, owner=owner, lease="preflight")
        try:
            return await reach(looker, await _targets(backend, looker, peer), wanted=[_PROXY])
        finally:
            await peer.close()
    finally:
        await looker.close()


async def _targets(backend: DockerBackend, sandbox: Sandbox, peer: Sandbox) -> dict[str, tuple[str, int]]:
    assert isinstance(sandbox, DockerSandbox)
    assert sandbox.egress is not None
    way, public = sandbox.egress.name, await backend.api.network()
    proxy = await backend.api.call(lambda client: client.api.inspect_container(way))
    other = await backend.api.call(lambda client: client.api.inspect_container(peer.id))
    network = await backend.api.call(lambda client: client.api.inspect_network(public))
    place = proxy["NetworkSettings"]["Networks"]
    return {
        _PROXY: (place[way]["IPAddress"], PORT),
        "proxy-outside": (place[public]["IPAddress"], PORT),
        "host": (network["IPAM"]["Config"][0]["Gateway"], CLOSED),
        "metadata": ("169.254.169.254", 80),
        "sandbox": (other["NetworkSettings"]["Networks"][public]["IPAddress"], CLOSED),
        "internet": ("1.1.1.1", 443),
    }
