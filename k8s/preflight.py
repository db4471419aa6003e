"""Proves from inside a probe sandbox what a model could reach: a policy that nobody enforces is no isolation."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envfarm.k8s.sandbox import KubernetesSandbox
from envfarm.toolbox.errors import ImageError, SandboxError, SandboxStartError
from envfarm.toolbox.sandboxes import scripts
from envfarm.toolbox.sandboxes.base import Isolation, Limits, Sandbox, SandboxSpec

if TYPE_CHECKING:
    from envfarm.k8s.backend import KubernetesBackend

PROBE = "preflight"
"""The lease of the sandboxes that a preflight looks from, and at."""
_SECONDS = 4
_CLOSED = 9  # a port that nothing listens on: to be refused there is to have got through
_SELF = "itself"

# A refusal is an answer: whoever refuses was reached.
_PROBE = r"""
newline='
'
probe() {
  if command -v bash >/dev/null 2>&1; then
    said=$(timeout %(seconds)d bash -c "exec 3<>/dev/tcp/$2/$3" 2>&1) && said=connected
  elif command -v python3 >/dev/null 2>&1; then
    said=$(python3 -c "import socket; socket.create_connection(('$2', $3), %(seconds)d)" 2>&1) && said=connected
  elif command -v nc >/dev/null 2>&1; then
    said=$(nc -w %(seconds)d "$2" "$3" </dev/null 2>&1) && said=connected
  else
    said='no bash, python3 or nc to try with'
  fi
  said=${said%%%%"$newline"*}
  case $said in
    connected|*refused*) echo "$1 reached $said" ;;
    'no bash'*) echo "$1 unknown $said" ;;
    *) echo "$1 not ${said##*: }" ;;
  esac
}
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether one thing that should be out of reach is."""

    name: str  # itself, api, kubelet, metadata, sandbox, dns, internet
    target: str  # host:port
    reached: bool | None  # None: the probe cannot tell
    detail: str

    @property
    def ok(self) -> bool:
        """Whether it is as it should be; that the probe itself works is shown by what it must reach."""
        return self.reached is (self.name == _SELF)


class Proof:
    """Lets no sandbox without a network start before a probe of its isolation has shown that it has none."""

    def __init__(self, backend: KubernetesBackend) -> None:
        self._backend = backend
        self._wanted: dict[Isolation, asyncio.Task[list[Finding]]] = {}

    async def check(self, isolation: Isolation, owner: str) -> None:
        """Wait for the probe of an isolation; one that could not be made is tried again by the next who asks.

        Raises SandboxStartError: something can be reached, or nothing was proved.
        """
        task = self._wanted.get(isolation)
        if task is None:
            look = preflight(self._backend, probe(self._backend, isolation), owner=owner)
            task = self._wanted[isolation] = asyncio.create_task(look)
        try:
            findings = await asyncio.shield(task)
        except (SandboxError, ImageError) as error:
            if self._wanted.get(isolation) is task:
                del self._wanted[isolation]
            raise SandboxStartError(f"network none: no probe could show that {isolation} cuts it: {error}") from None
        wrong = [f"{one.name} at {one.target} ({one.detail})" for one in findings if not one.ok]
        if wrong:
            raise SandboxStartError(
                f"network none: a probe with {isolation} could reach {', '.join(wrong)}; cut the sandboxes' network, "
                "or set kubernetes.prove to false to play in them all the same"
            )

    async def close(self) -> None:
        """Give up probes under way."""
        for task in self._wanted.values():
            task.cancel()
        await asyncio.gather(*self._wanted.values(), return_exceptions=True)
        self._wanted.clear()


def probe(backend: KubernetesBackend, isolation: Isolation) -> SandboxSpec:
    """A sandbox that has what a probe needs, and asks for little."""
    return SandboxSpec(
        image=backend.config.cut_image, isolation=isolation, limits=Limits(cpus=0.1, memory_mb=128, pids=64)
    )


async def preflight(backend: KubernetesBackend, spec: SandboxSpec, *, owner: str = "preflight") -> list[Finding]:
    """Try from a sandbox of this kind to reach what no model may; with network `public` the internet is not tried.

    `spec` names an image with bash, python3 or nc. Raises SandboxError, ImageError: no probe could be made.
    """
    looker = await backend.start(spec, owner=owner, lease=PROBE)
    try:
        peer = await backend.start(spec.model_copy(update={"network": "public"}), owner=owner, lease=PROBE)
        try:
            targets = await _targets(backend, looker, peer)
            if spec.network == "public":
                del targets["internet"]
            return await _probe(looker, targets)
        finally:
            await peer.close()
    finally:
        await looker.close()


async def _probe(sandbox: Sandbox, targets: Mapping[str, tuple[str, int]]) -> list[Finding]:
    calls = [f"probe {name} {scripts.quote(host)} {port} &" for name, (host, port) in targets.items()]
    text = "\n".join([_PROBE % {"seconds": _SECONDS}, *calls, "wait"])
    result = await sandbox.run(text, timeout=_SECONDS * (len(targets) + 2))
    answers = {}
    for line in result.stdout.decode("utf-8", "replace").splitlines():
        name, _, rest = line.partition(" ")
        answers[name] = rest.partition(" ")
    findings = []
    for name, (host, port) in targets.items():
        verdict, _, detail = answers.get(name, ("", "", "the probe said nothing"))
        reached = {"reached": True, "not": False}.get(verdict)
        findings.append(Finding(name, f"{host}:{port}", reached, detail or "no answer"))
    if findings[0].reached is not True:  # who cannot reach itself proves nothing of the rest
        return [Finding(one.name, one.target, None, "the probe does not work in this image") for one in findings]
    return findings


async def _targets(backend: KubernetesBackend, probe: Sandbox, peer: Sandbox) -> dict[str, tuple[str, int]]:
    host, other = _address(backend, probe, "hostIP"), _address(backend, peer, "podIP")
    return {
        _SELF: ("127.0.0.1", _CLOSED),
        "api": await _api(backend, host),
        "kubelet": (host, 10250),
        "metadata": ("169.254.169.254", 80),
        "sandbox": (other, _CLOSED),
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
