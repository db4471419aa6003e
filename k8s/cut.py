"""How a sandbox's pod is cut off, wholly or but for its proxy: nothing hangs on the cluster's network plugin."""

from __future__ import annotations

import inspect
from typing import Any

from envfarm.k8s import boot, labels
from envfarm.k8s.config import KubernetesConfig
from envfarm.toolbox.egress import cut
from envfarm.toolbox.egress.config import EgressConfig, environment
from envfarm.toolbox.egress.proxy import PORT
from envfarm.toolbox.errors import SandboxStartError
from envfarm.toolbox.sandboxes.base import SandboxSpec

DOWN = (
    "for link in /sys/class/net/*; do link=${link##*/}; "
    '[ "$link" = lo ] || ip link set "$link" down || exit 1; done; [ -d /sys/class/net/lo ]'
)
"""Takes down every interface but loopback; to bring one up again needs NET_ADMIN, which no sandbox has."""
GATE = f"{labels.PREFIX}egress"
"""What keeps a pod from being scheduled until it is known where its proxy is."""
_GVISOR = {"none": "gvisor-nonet", "allowlist": "gvisor-egress", "public": "gvisor"}
"""RuntimeClasses: what cuts a pod from outside gVisor reaches nothing in it."""
_SMALL = {"cpu": "10m", "memory": "32Mi"}
_PYTHON = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}}


def isolate(
    body: dict[str, Any], container: dict[str, Any], config: KubernetesConfig, spec: SandboxSpec, egress: EgressConfig
) -> None:
    """Give a pod its runtime class and take its network.

    Raises SandboxStartError: the cluster does not offer what the specification asks for.
    """
    runtime = _GVISOR[spec.network] if spec.isolation == "gvisor" else spec.isolation
    if runtime not in config.runtime_classes:
        raise SandboxStartError(f"runtime_classes: the cluster offers no {runtime}; name its RuntimeClass there")
    if config.runtime_classes[runtime]:
        body["runtimeClassName"] = config.runtime_classes[runtime]
    # No name of the cluster's own: a public sandbox asks whom its node asks, a cut one finds out at once.
    body["dnsPolicy"] = "Default" if spec.network == "public" else "None"
    if spec.network == "public":
        return
    body["dnsConfig"] = {"nameservers": ["127.0.0.1"]}
    before = body.get("initContainers") or []
    if spec.network == "allowlist":
        address = {"fieldRef": {"fieldPath": f"metadata.annotations['{labels.ADDRESS}']"}}
        known = {"name": boot.ADDRESS, "valueFrom": address}
        ways = environment(f"$({boot.ADDRESS})")
        container["env"] += [known, *({"name": key, "value": value} for key, value in ways.items())]
        body["initContainers"] = [*before, _but_for_its_proxy(egress, known)]
        body["schedulingGates"] = [{"name": GATE}]
    elif spec.isolation == "runc":
        body["initContainers"] = [*before, _wholly(config)]


def _wholly(config: KubernetesConfig) -> dict[str, Any]:
    """The init container that takes the pod's interfaces down."""
    command = ["/bin/sh", "-c", boot.literal(DOWN)]
    return _cutter(config.cut_image, command, {"requests": _SMALL, "limits": _SMALL}, ["NET_ADMIN"])


def _but_for_its_proxy(egress: EgressConfig, known: dict[str, Any]) -> dict[str, Any]:
    """The init container that leaves the pod one address. The older iptables speaks through a raw socket."""
    command = ["python3", "-I", "-c", boot.literal(inspect.getsource(cut)), f"$({boot.ADDRESS})", str(PORT)]
    made = _cutter(egress.image, command, _PYTHON, ["NET_ADMIN", "NET_RAW"])
    return made | {"env": [known], "terminationMessagePolicy": "FallbackToLogsOnError"}


def _cutter(image: str, command: list[str], resources: dict[str, Any], capabilities: list[str]) -> dict[str, Any]:
    return {
        "name": "cut",
        "image": image,
        "command": command,
        "resources": resources,
        "securityContext": {
            "runAsUser": 0,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": capabilities},
        },
    }
