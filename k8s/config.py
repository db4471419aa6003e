"""What the Kubernetes back end is told: where the cluster is, and how its pods are made and kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class KubernetesConfig(BaseModel):
    """The settings of one back end. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field("envfarm-sandboxes", description="namespace of the sandboxes, and of nothing else")
    farm: str = Field(
        "envfarm",
        pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$",
        description="label of the pods; servers that share it hand warm pods to each other",
    )
    kubeconfig: Path | None = Field(
        None,
        description="file with the cluster's address; default: the pod's own, else KUBECONFIG, else ~/.kube/config",
    )
    context: str | None = Field(None, description="context in that file; default: its current one")
    template: Path | None = Field(None, description="pod that every sandbox is made from; default: k8s/pod.yaml")
    qps: float = Field(50.0, gt=0, description="creations, changes and removals a second")
    burst: int = Field(100, ge=1, description="how many of them may come at once")
    patience: float = Field(15.0, ge=0, description="how long a request is tried again while the API is away")
    runtime_classes: dict[str, str] = Field(
        {"runc": "", "gvisor": "gvisor", "gvisor-nonet": "gvisor-nonet", "gvisor-egress": "gvisor-egress"},
        description="isolation to RuntimeClass, empty for the cluster's default; `gvisor-nonet` has no network, "
        "`gvisor-egress` filters what leaves it (`net-raw`)",
    )
    cut_image: str = Field(
        "localhost:5000/envfarm/busybox:1", description="image with `sh` and `ip` that cuts the network of runc's pods"
    )
    prove: bool = Field(
        True, description="whether sandboxes without a network, or with an allowlist, wait until a probe has shown it"
    )
    cpu_requests: float = Field(1.0, gt=0, le=1, description="part of a sandbox's CPU limit that its node sets aside")
    memory_requests: float = Field(1.0, gt=0, le=1, description="the same of its memory")
    plain_http: tuple[str, ...] = Field((), description="registries spoken to without TLS, besides those on localhost")
    registry_auth: Path | None = Field(
        None, description="file of registry passwords as `docker login` writes it; default: ~/.docker/config.json"
    )
    start_seconds: float = Field(300.0, gt=0, description="how long a pod may take to run, its image's pull included")
    unschedulable_seconds: float = Field(60.0, ge=0, description="how long a pod may find no node")
    reattach_seconds: float = Field(300.0, ge=0, description="how long a lost stream is attached again")
    deadline_seconds: int = Field(6 * 3600, ge=60, description="life of a leased pod, which the cluster ends after it")
    orphan_seconds: float = Field(
        900.0, gt=0, description="silence of a server after which others remove the pods it left"
    )
