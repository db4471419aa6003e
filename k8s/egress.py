"""The way out of a pod with an allowlist: a proxy in a pod of its own. Neither outlives the other.

The owner of a proxy, in the sense of Kubernetes, is its sandbox: when that goes, the cluster removes the proxy, and
no farm need live. So the sandbox is made first. It is not scheduled before its proxy runs and its address is known.
"""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

from envfarm.k8s import boot, labels
from envfarm.k8s.client import MERGE_PATCH, ApiRefused
from envfarm.k8s.faults import PROXY
from envfarm.k8s.pods import Pod
from envfarm.toolbox.egress import proxy
from envfarm.toolbox.errors import SandboxLost, SandboxStartError

if TYPE_CHECKING:
    from envfarm.k8s.backend import KubernetesBackend

_GRACE = 2
"""Seconds that a proxy outlives its removal, so that its address is nobody else's before the sandbox is dead."""
_RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}


def name(sandbox: str) -> str:
    """The name of a sandbox's proxy."""
    return f"{sandbox}-egress"


async def lead_out(backend: KubernetesBackend, sandbox: Pod, hosts: tuple[str, ...]) -> None:
    """Make the proxy of a pod that waits for it, and let that start.

    Raises SandboxStartError, SandboxLost, ImageError, BackendUnavailable.
    """
    try:
        for text in hosts:
            proxy.Rule.parse(text)
    except ValueError as error:
        raise SandboxStartError(f"allowed_hosts: {error}") from None
    try:
        made = await backend.running(await backend.create(manifest(backend, sandbox, hosts)))
    except (SandboxLost, SandboxStartError) as error:
        raise type(error)(f"its egress proxy does not start: {error}", cause=error.cause) from None
    addresses = [str(one["ip"]) for one in made.status.get("podIPs", ())]
    address = next((one for one in addresses if ":" not in one), None)
    if address is None:
        raise SandboxStartError(
            f"network allowlist: the proxy has no IPv4 address ({', '.join(addresses)}), and the cut knows no other"
        )
    about = {"uid": sandbox.uid, "annotations": {labels.ADDRESS: address}}
    change = {"metadata": about, "spec": {"schedulingGates": None}}
    path = f"{backend.path}/{sandbox.name}"
    try:
        backend.pods.put(await backend.api.request("PATCH", path, body=change, content_type=MERGE_PATCH))
    except ApiRefused as error:
        if error.status_code in (404, 409):
            raise SandboxLost("the pod is gone: somebody removed it", cause="removed") from None
        raise


def manifest(backend: KubernetesBackend, sandbox: Pod, hosts: tuple[str, ...]) -> dict[str, Any]:
    """The proxy's pod: it stands where sandboxes may, asks whom its node asks for names, and is the sandbox's own."""
    config, egress = backend.config, backend.egress
    private = [str(network) for network in egress.private]
    words = ["python3", "-I", "-c", inspect.getsource(proxy), "0.0.0.0", json.dumps(hosts), json.dumps(private)]
    body = backend.template.beside() | {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # It keeps its address when it dies, until the sandbox that has a route there is gone.
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": _GRACE,
        "dnsPolicy": "Default",
        "hostAliases": [{"ip": ip, "hostnames": [host]} for host, ip in egress.hosts.items()],
        "containers": [
            {
                "name": PROXY,
                "image": egress.image,
                "command": [boot.literal(word) for word in words],
                "ports": [{"name": PROXY, "containerPort": proxy.PORT}],
                "resources": _RESOURCES,
                "securityContext": {
                    "runAsUser": 65534,
                    "runAsGroup": 65534,
                    "runAsNonRoot": True,
                    "privileged": False,
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
    if config.runtime_classes.get("runc"):
        body["runtimeClassName"] = config.runtime_classes["runc"]
    tags = {"app.kubernetes.io/name": "envfarm-egress", labels.FARM: config.farm, labels.NETWORK: labels.EGRESS}
    owner = {"apiVersion": "v1", "kind": "Pod", "name": sandbox.name, "uid": sandbox.uid}
    about = {"name": name(sandbox.name), "labels": tags, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": body}
