"""The pod of a sandbox: the operator's template with the specification's needs in it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.faults import CONTAINER
from envfarm.toolbox.errors import BackendUnavailable, SandboxStartError
from envfarm.toolbox.sandboxes.base import SandboxSpec

CUT = (
    "for link in /sys/class/net/*; do link=${link##*/}; "
    '[ "$link" = lo ] || ip link set "$link" down || exit 1; done; [ -d /sys/class/net/lo ]'
)
"""Takes down every interface but loopback; to bring one up again needs NET_ADMIN, which no sandbox has."""
_CUT_RESOURCES = {"cpu": "10m", "memory": "32Mi"}


class TemplateError(BackendUnavailable):
    """A pod template that cannot be used; the message names the field and the fix."""

    retryable = False


@dataclass(frozen=True)
class Template:
    """The operator's pod, checked. Raises TemplateError."""

    text: str
    name: str

    @classmethod
    def load(cls, path: Path | None) -> Template:
        """The file, or the one that envfarm ships. Raises TemplateError."""
        if path is None:
            return cls(resources.files(__package__).joinpath("pod.yaml").read_text(), "k8s/pod.yaml")
        try:
            return cls(path.read_text(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise TemplateError(f"template: {path} cannot be read: {error}; name another file") from None

    @cached_property
    def pod(self) -> dict[str, Any]:
        """The pod as a mapping."""
        try:
            pod = yaml.safe_load(self.text)
        except yaml.YAMLError as error:
            raise TemplateError(f"{self.name}: not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(pod, dict) or pod.get("kind") != "Pod" or pod.get("apiVersion") != "v1":
            raise TemplateError(f"{self.name}: kind: write one object with `apiVersion: v1` and `kind: Pod`")
        self._check(pod)
        return pod

    def _check(self, pod: dict[str, Any]) -> None:
        """What the farm relies on: that the pod can be held, and that it gives a model nothing."""
        spec = self._mapping(pod, "spec")
        self._mapping(pod, "metadata")
        names = [one.get("name") for one in spec.get("containers") or [] if isinstance(one, dict)]
        if names.count(CONTAINER) != 1:
            raise TemplateError(f"{self.name}: spec.containers: write exactly one that is named {CONTAINER}")
        at = names.index(CONTAINER)
        container = spec["containers"][at]
        where = f"spec.containers[{at}]"
        security = self._mapping(container, "securityContext", where)
        capabilities = self._mapping(security, "capabilities", f"{where}.securityContext")
        must: list[tuple[str, Mapping[str, Any], str, tuple[Any, ...]]] = [
            ("spec", spec, "automountServiceAccountToken", (False,)),
            ("spec", spec, "enableServiceLinks", (False,)),
            ("spec", spec, "restartPolicy", ("Never",)),
            *(("spec", spec, key, (False, None)) for key in ("hostNetwork", "hostPID", "hostIPC")),
            ("spec", spec, "shareProcessNamespace", (False, None)),
            (where, container, "stdin", (True,)),
            *((where, container, key, (False, None)) for key in ("stdinOnce", "tty")),
            (f"{where}.securityContext", security, "runAsUser", (0,)),
            (f"{where}.securityContext", security, "privileged", (False, None)),
            (f"{where}.securityContext", security, "allowPrivilegeEscalation", (False,)),
            (f"{where}.securityContext.capabilities", capabilities, "drop", (["ALL"],)),
        ]
        for place, mapping, key, allowed in must:
            if mapping.get(key) not in allowed:
                wanted = "false" if allowed[0] is False else "true" if allowed[0] is True else allowed[0]
                raise TemplateError(f"{self.name}: {place}.{key}: must be {wanted}, not {mapping.get(key)!r}")
        for key in ("NET_ADMIN", "SYS_ADMIN", "ALL"):
            if key in (capabilities.get("add") or []):
                raise TemplateError(f"{self.name}: {where}.securityContext.capabilities.add: {key} frees the model")

    def _mapping(self, parent: dict[str, Any], key: str, where: str = "") -> dict[str, Any]:
        value = parent.get(key)
        if not isinstance(value, dict):
            place = f"{where}.{key}" if where else key
            raise TemplateError(f"{self.name}: {place}: write a mapping here, as in k8s/pod.yaml")
        return value

    def kind(self, spec: SandboxSpec) -> str:
        """A hash of everything that makes two pods interchangeable."""
        text = f"{spec.model_dump_json()}\n{self.text}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def manifest(
    template: Template,
    config: KubernetesConfig,
    spec: SandboxSpec,
    *,
    name: str,
    image: str,
    command: list[str],
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    deadline: int | None,
) -> dict[str, Any]:
    """The pod of a sandbox. Raises SandboxStartError: the cluster does not offer what the specification asks for."""
    pod = copy.deepcopy(template.pod)
    about, body = pod["metadata"], pod["spec"]
    about["name"] = name
    about["labels"] = {**(about.get("labels") or {}), "app.kubernetes.io/name": "envfarm-sandbox", **labels}
    about["annotations"] = {**(about.get("annotations") or {}), **annotations}
    container = next(one for one in body["containers"] if one["name"] == CONTAINER)
    container["image"] = image
    container["command"] = [_literal(word) for word in _discreet(command)]
    container.pop("args", None)
    env = [{"name": key, "value": _literal(value)} for key, value in spec.env]
    container["env"] = [*(container.get("env") or []), *env]
    container["resources"] = resources_of(config, spec)
    if deadline is not None:
        body["activeDeadlineSeconds"] = deadline
    _isolate(body, config, spec)
    return pod


def resources_of(config: KubernetesConfig, spec: SandboxSpec) -> dict[str, dict[str, str]]:
    """Requests and limits of the sandbox's container."""
    limits = spec.limits
    cpu = max(1, round(limits.cpus * 1000))
    most = {"cpu": f"{cpu}m", "memory": f"{limits.memory_mb}Mi"}
    if limits.disk_mb is not None:
        most["ephemeral-storage"] = f"{limits.disk_mb}Mi"
    if limits.gpus:
        most["nvidia.com/gpu"] = str(limits.gpus)
    least = most | {
        "cpu": f"{max(1, round(cpu * config.cpu_requests))}m",
        "memory": f"{max(1, round(limits.memory_mb * config.memory_requests))}Mi",
    }
    return {"requests": least, "limits": most}


def _isolate(body: dict[str, Any], config: KubernetesConfig, spec: SandboxSpec) -> None:
    """Runtime class, and a cut of the network that needs no help from the cluster's network plugin."""
    if spec.network == "allowlist":
        raise SandboxStartError("network allowlist: only the Docker back end filters hosts; use none or public here")
    cut = spec.network == "none"
    runtime = "gvisor-nonet" if cut and spec.isolation == "gvisor" else spec.isolation
    if runtime not in config.runtime_classes:
        raise SandboxStartError(f"runtime_classes: the cluster offers no {runtime}; name its RuntimeClass there")
    if config.runtime_classes[runtime]:
        body["runtimeClassName"] = config.runtime_classes[runtime]
    # No name of the cluster's own: a public sandbox asks whom its node asks, a cut one finds out at once.
    body["dnsPolicy"] = "None" if cut else "Default"
    if cut:
        body["dnsConfig"] = {"nameservers": ["127.0.0.1"]}
    if cut and spec.isolation == "runc":
        body["initContainers"] = [*(body.get("initContainers") or []), _cutter(config)]


def _cutter(config: KubernetesConfig) -> dict[str, Any]:
    """The init container that takes the pod's interfaces down."""
    return {
        "name": "cut",
        "image": config.cut_image,
        "command": ["/bin/sh", "-c", _literal(CUT)],
        "resources": {"requests": _CUT_RESOURCES, "limits": _CUT_RESOURCES},
        "securityContext": {
            "runAsUser": 0,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        },
    }


def _discreet(command: list[str]) -> list[str]:
    """The command without the API's address in its environment, which Kubernetes gives every container."""
    shell, flag, text, *rest = command
    names = ["PORT", "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTPS", "PORT_443_TCP"]
    names += [f"PORT_443_TCP_{part}" for part in ("ADDR", "PORT", "PROTO")]
    return [shell, flag, f"unset {' '.join(f'KUBERNETES_{name}' for name in names)}; {text}", *rest]


def _literal(text: str) -> str:
    """Text that Kubernetes takes as it stands: it would put variables in place of `$(NAME)`."""
    return text.replace("$", "$$")
