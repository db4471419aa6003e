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

from envfarm.k8s import boot, cut
from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.faults import CONTAINER
from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.errors import BackendUnavailable
from envfarm.toolbox.sandboxes.base import SandboxSpec

_SHARED = ("nodeSelector", "affinity", "tolerations", "imagePullSecrets", "priorityClassName", "securityContext")


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
        for key in ("NET_ADMIN", "NET_RAW", "SYS_ADMIN", "ALL"):
            if key in (capabilities.get("add") or []):
                raise TemplateError(f"{self.name}: {where}.securityContext.capabilities.add: {key} frees the model")

    def _mapping(self, parent: dict[str, Any], key: str, where: str = "") -> dict[str, Any]:
        value = parent.get(key)
        if not isinstance(value, dict):
            place = f"{where}.{key}" if where else key
            raise TemplateError(f"{self.name}: {place}: write a mapping here, as in k8s/pod.yaml")
        return value

    def kind(self, spec: SandboxSpec, egress: EgressConfig) -> str:
        """A hash of everything that makes two pods interchangeable."""
        proxy = egress.model_dump_json() if spec.network == "allowlist" else ""
        text = f"{spec.model_dump_json()}\n{self.text}{proxy}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def beside(self) -> dict[str, Any]:
        """What a pod of the farm's that is no sandbox shares with one: where it may run, and with what rights."""
        return copy.deepcopy({key: self.pod["spec"][key] for key in _SHARED if key in self.pod["spec"]})


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
    egress: EgressConfig,
) -> dict[str, Any]:
    """The pod of a sandbox. Raises SandboxStartError: the cluster does not offer what the specification asks for."""
    pod = copy.deepcopy(template.pod)
    about, body = pod["metadata"], pod["spec"]
    about["name"] = name
    about["labels"] = {**(about.get("labels") or {}), "app.kubernetes.io/name": "envfarm-sandbox", **labels}
    about["annotations"] = {**(about.get("annotations") or {}), **annotations}
    container = next(one for one in body["containers"] if one["name"] == CONTAINER)
    container["image"] = image
    container["command"] = [boot.literal(word) for word in boot.discreet(command)]
    container.pop("args", None)
    env = [{"name": key, "value": boot.literal(value)} for key, value in spec.env]
    container["env"] = [*(container.get("env") or []), *env]
    container["resources"] = resources_of(config, spec)
    if deadline is not None:
        body["activeDeadlineSeconds"] = deadline
    cut.isolate(body, container, config, spec, egress)
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
