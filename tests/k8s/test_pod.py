"""The pod's template: what is wrong with it is said when the farm starts, with the field's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envfarm.k8s import labels
from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.pod import Template, TemplateError, manifest
from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.errors import SandboxStartError
from envfarm.toolbox.sandboxes.base import Limits, SandboxSpec

from .conftest import Open

SHIPPED = Template.load(None)


def made(spec: SandboxSpec, template: Template = SHIPPED, **settings: Any) -> dict[str, Any]:
    pod = manifest(
        template, KubernetesConfig(**settings), spec, name="x", image=spec.image,
        command=["/bin/sh", "-c", "a $(b) $c"], labels={labels.FARM: "f"}, annotations={labels.OWNER: "o"}, deadline=60,
        egress=EgressConfig(),
    )  # fmt: skip
    return dict(pod)


def changed(old: str, new: str) -> Template:
    assert old in SHIPPED.text
    return Template(SHIPPED.text.replace(old, new, 1), "pod.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: Pod", "kind: Deployment", "kind"),
        ("apiVersion: v1", "apiVersion: [", "not YAML"),
        ("- name: sandbox", "- name: other", "spec.containers"),
        ("automountServiceAccountToken: false", "automountServiceAccountToken: true", "automountServiceAccountToken"),
        ("enableServiceLinks: false", "", "spec.enableServiceLinks: must be false, not None"),
        ("restartPolicy: Never", "restartPolicy: Always", "spec.restartPolicy: must be Never"),
        ("hostname: sandbox", "hostNetwork: true", "spec.hostNetwork"),
        ("stdin: true", "stdin: false", r"spec.containers\[0\].stdin: must be true"),
        ("privileged: false", "privileged: true", r"containers\[0\].securityContext.privileged"),
        ("drop: [ALL]", "drop: []", "securityContext.capabilities.drop"),
        ("add: [CHOWN", "add: [NET_ADMIN, CHOWN", "capabilities.add: NET_ADMIN"),
        ("add: [CHOWN", "add: [NET_RAW, CHOWN", "capabilities.add: NET_RAW"),
        ("capabilities:\n", "other:\n", "securityContext.capabilities: write a mapping"),
        ("metadata:\n  labels: {}\n  annotations: {}\n", "", "metadata: write a mapping"),
    ],
)
def test_a_bad_template_names_the_field(old: str, new: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        _ = changed(old, new).pod


def test_a_template_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"template: .*cannot be read"):
        KubernetesBackend(KubernetesConfig(template=tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("hostname: sandbox", "hostname: sandbox\n  nodeSelectr: {a: b}", "spec.nodeSelectr"),
        ("hostname: sandbox", "hostname: sandbox\n  tolerations: [{effect: NoSuch}]", "spec.tolerations"),
        ("workingDir: /", "workingDir: /\n      imagePullPolicy: Sometimes", "imagePullPolicy"),
    ],
)
async def test_what_only_the_api_server_knows_is_refused_at_the_start_too(
    open_backend: Open, tmp_path: Path, old: str, new: str, field: str
) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(changed(old, new).text)
    with pytest.raises(TemplateError, match=field.replace(".", r"\.")):
        await open_backend(template=path).open()


def test_the_specifications_needs_are_in_the_pod() -> None:
    limits = Limits(cpus=1.5, memory_mb=300, disk_mb=700, gpus=2)
    spec = SandboxSpec(image="i", limits=limits, env=(("A", "$(B) $x"),))
    pod = made(spec, cpu_requests=0.5)
    container = pod["spec"]["containers"][0]
    most = {"cpu": "1500m", "memory": "300Mi", "ephemeral-storage": "700Mi", "nvidia.com/gpu": "2"}
    assert container["resources"] == {"limits": most, "requests": most | {"cpu": "750m"}}
    assert container["env"] == [{"name": "A", "value": "$$(B) $$x"}]  # else Kubernetes puts variables in there
    assert container["command"][2].endswith("; a $$(b) $$c")
    assert pod["spec"]["activeDeadlineSeconds"] == 60
    assert pod["metadata"]["labels"][labels.FARM] == "f"
    assert SHIPPED.pod["metadata"]["labels"] == {}  # nothing of it stays in the template


def test_what_operators_add_stays() -> None:
    lines = ["nodeSelector: {pool: sandboxes}", "priorityClassName: low", "imagePullSecrets: [{name: s}]"]
    added = "\n  ".join(["hostname: sandbox", *lines])
    body = made(SandboxSpec(image="i"), changed("hostname: sandbox", added))["spec"]
    assert (body["nodeSelector"], body["priorityClassName"]) == ({"pool": "sandboxes"}, "low")
    assert body["imagePullSecrets"] == [{"name": "s"}]


def test_the_network_is_cut_by_what_the_isolation_has() -> None:
    runc = made(SandboxSpec(image="i"))["spec"]
    assert [one["name"] for one in runc["initContainers"]] == ["cut"]
    assert "runtimeClassName" not in runc
    gvisor = made(SandboxSpec(image="i", isolation="gvisor"))["spec"]
    assert "initContainers" not in gvisor
    assert gvisor["runtimeClassName"] == "gvisor-nonet"
    public = made(SandboxSpec(image="i", isolation="gvisor", network="public"))["spec"]
    assert (public["runtimeClassName"], public["dnsPolicy"]) == ("gvisor", "Default")
    for isolation, name in (("runc", None), ("gvisor", "gvisor-egress")):
        listed = made(SandboxSpec(image="i", isolation=isolation, network="allowlist"))["spec"]
        assert [one["name"] for one in listed["initContainers"]] == ["cut"]
        assert listed.get("runtimeClassName") == name
        assert listed["schedulingGates"]  # until it is known where the proxy is
    with pytest.raises(SandboxStartError, match="runtime_classes: the cluster offers no gvisor"):
        made(SandboxSpec(image="i", isolation="gvisor", network="public"), runtime_classes={"runc": ""})


def test_a_label_stands_for_any_text() -> None:
    assert labels.value("ep-1") == "ep-1"
    texts = ["", "a b", "x" * 64, "ä", "-a", "hash-a"]
    values = [labels.value(text) for text in texts]
    assert len(set(values)) == len(texts)
    assert all(len(value) <= 63 and value.startswith("hash-") for value in values)
