"""Proves from inside a probe sandbox what a model could reach: a policy that nobody enforces is no isolation."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envfarm.k8s import labels
from envfarm.k8s.sandbox import KubernetesSandbox
from envfarm.toolbox.egress.proxy import PORT
from envfarm.toolbox.errors import ImageError, SandboxError, SandboxStartError
from envfarm.toolbox.sandboxes.base import Isolation, Limits, Network, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.reach import CLOSED, Finding, faulty, reach

if TYPE_CHECKING:
    from envfarm.k8s.backend import KubernetesBackend

PROBE = "preflight"
"""The lease of the sandboxes that a preflight looks from, and at."""
_PROXY = "proxy"


class Proof:
    """Lets no sandbox start whose network should be cut before a probe of its isolation has shown that it is."""

    def __init__(self, backend: KubernetesBackend) -> None:
        self._backend = backend
        self._wanted: dict[tuple[Isolation, Network], asyncio.Task[list[Finding]]] = {}

    async def check(self, isolation: Isolation, network: Network, owner: str) -> None:
        """Wait for the probe of a kind of sandbox; one that could not be made is tried again by the next who asks.

        Raises SandboxStartError: something can be reached, or nothing was proved.
        """
        kind = isolation, network
        task = self._wanted.get(kind)
        if task is None:
            look = preflight(self._backend, probe(self._backend, isolation, network), owner=owner)
            task = self._wanted[kind] = asyncio.create_task(look)
        try:
            findings = await asyncio.shield(task)
        except (SandboxError, ImageError) as error:
            if self._wanted.get(kind) is task:
                del self._wanted[kind]
            raise SandboxStartError(
                f"network {network}: no probe could show that {isolation} cuts it: {error}"
            ) from None
        if wrong := faulty(findings):
            raise SandboxStartError(
                f"network {network}: a probe with {isolation} {wrong}; cut the sandboxes' network, "
                "or set kubernetes.prove to false to play in them all the same"
            )

    async def close(self) -> None:
        """Give up probes under way."""
        for task in self._wanted.values():
            task.cancel()
        await asyncio.gather(*self._wanted.values(), return_exceptions=True)
        self._wanted.clear()


def probe(backend: KubernetesBackend, isolation: Isolation, network: Network = "none") -> SandboxSpec:
    """A sandbox that has what a probe needs, and asks for little."""
    image = backend.egress.image if network == "allowlist" else backend.config.cut_image
    limits = Limits(cpus=0.1, memory_mb=256, pids=256)
    return SandboxSpec(image=image, isolation=isolation, network=network, limits=limits)


async def preflight(backend: KubernetesBackend, spec: SandboxSpec, *, owner: str = "preflight") -> list[Finding]:
    """Try from a sandbox of this kind to reach what no model may; with network `public` the internet is not tried.

    One with an allowlist must reach its proxy, and nothing else. `spec` names an image with python3, bash or nc.
    Raises SandboxError, ImageError: no probe could be made.
    """
    looker = await backend.start(spec, owner=owner, lease=PROBE)
    try:
        public = {"network": "public", "allowed_hosts": ()}
        peer = await backend.start(spec.model_copy(update=public), owner=owner, lease=PROBE)
        try:
            targets = await _targets(backend, looker, peer)
            if spec.network == "public":
                del targets["internet"]
            return await reach(looker, targets, wanted=[_PROXY] if spec.network == "allowlist" else [])
        finally:
            await peer.close()
    finally:
        await looker.close()


async def _targets(backend: KubernetesBackend, probe: Sandbox, peer: Sandbox) -> dict[str, tuple[str, int]]:
    host, other = _address(backend, probe, "hostIP"), _address(backend, peer, "podIP")
    pod = backend.pods.get(probe.id)
    proxy = pod.annotations.get(labels.ADDRESS) if pod is not None else None
    return ({_PROXY: (proxy, PORT)} if proxy else {}) | {
        "api": await _api(backend, host),
        "kubelet": (host, 10250),
        "metadata": ("169.254.169.254", 80),
        "sandbox": (other, CLOSED),
        "dns": (await asyncio.to_thread(_nameserver, host), 53),
        "internet": ("1.1.1.1", 443),
    }


async def _api(backend: KubernetesBackend, host: str) -> tuple[str, int]:
    """The API server's address as a pod would name it."""
    service = os.environ.get("KUBERNETES_SERVICE_HOST")
    if service:
        return service, int(os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
    try:
        found = await backend.api.request("GET", "/api/v1/namespaces/default/services/kubernetes", patience=0)
        return str(found["spec"]["clusterIP"]), int(found["spec"]["ports"][0]["port"])
    except (SandboxError, KeyError, IndexError):
        parts = urlsplit(backend.api.host)
        return parts.hostname if parts.hostname not in (None, "127.0.0.1", "localhost") else host, parts.port or 443


def _nameserver(default: str) -> str:
    """Who answers names here: in a cluster, its own DNS."""
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except OSError:
        lines = []
    servers = [line.split()[1] for line in lines if line.startswith("nameserver ")]
    return next((one for one in servers if not one.startswith("127.")), default)


def _address(backend: KubernetesBackend, sandbox: Sandbox, which: str) -> str:
    assert isinstance(sandbox, KubernetesSandbox)
    pod = backend.pods.get(sandbox.id)
    return str(pod.status.get(which, "127.0.0.1")) if pod is not None else "127.0.0.1"
