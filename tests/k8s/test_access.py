"""What the servers may do to the cluster, and which pods the sandboxes' namespace takes, on a real API server."""

from __future__ import annotations

import copy
import itertools
import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from envfarm.k8s import egress
from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.pod import Template, manifest
from envfarm.k8s.pods import Pod
from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.sandboxes.base import SandboxSpec
from tests.k8s.kubectl import CONTROL, DEPLOY, SANDBOXES, SERVER, kubectl

Json = dict[str, Any]
RULES = {
    "pods": {"create", "delete", "get", "list", "patch", "watch"},
    "pods/attach": {"create", "get"},
    "pods/log": {"get"},
    "leases.coordination.k8s.io": {"create", "delete", "list", "patch"},
}
OTHERS = (CONTROL, "default", "kube-system")


@pytest.fixture(scope="module")
def applied(cluster: Any) -> str:
    """The kubeconfig of a cluster with the base's namespaces, access and admission in it; they stay."""
    for file in ("namespaces", "access", "admission", "priorities"):
        kubectl(cluster.kubeconfig, "apply", "-f", DEPLOY / f"base/{file}.yaml")
    return str(cluster.kubeconfig)


def allowed(kubeconfig: str, namespace: str) -> dict[str, set[str]]:
    """All that the server's account may do in a namespace, without what every account may ask about itself."""
    listed = kubectl(kubeconfig, "auth", "can-i", "--list", "--no-headers", f"--as={SERVER}", "-n", namespace).stdout
    rules: dict[str, set[str]] = {}
    for line in listed.splitlines():
        resource, *_, verbs = re.split(r"\s{2,}", line.strip())
        if not line.startswith(" ") and not resource.startswith("selfsubject"):
            rules.setdefault(resource, set()).update(verbs.strip("[]").split())
    return rules


def test_the_server_may_do_what_it_needs_in_the_sandboxes_namespace_and_no_more(applied: str) -> None:
    assert allowed(applied, SANDBOXES) == RULES


@pytest.mark.parametrize("namespace", OTHERS)
def test_the_server_may_do_nothing_elsewhere(applied: str, namespace: str) -> None:
    assert allowed(applied, namespace) == {}


FORBIDDEN = [  # verb, group, resource with its part, namespace
    ("get", "", "secrets", CONTROL),
    ("get", "", "secrets", SANDBOXES),
    ("list", "", "nodes", ""),
    ("get", "", "nodes/proxy", ""),
    ("create", "", "namespaces", ""),
    ("create", "", "pods", CONTROL),
    ("create", "", "pods/exec", SANDBOXES),
    ("get", "", "pods/exec", SANDBOXES),
    ("create", "", "pods/portforward", SANDBOXES),
    ("patch", "", "pods/ephemeralcontainers", SANDBOXES),
    ("create", "", "pods/binding", SANDBOXES),
    ("create", "", "serviceaccounts/token", CONTROL),
    ("delete", "", "resourcequotas", SANDBOXES),
    ("deletecollection", "", "pods", SANDBOXES),
    ("delete", "networking.k8s.io", "networkpolicies", SANDBOXES),
    ("create", "rbac.authorization.k8s.io", "rolebindings", SANDBOXES),
    ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicies", ""),
]


def test_the_server_may_not(applied: str) -> None:
    """`kubectl auth can-i`, all in one call; the last question shows that the answers mean something."""
    asked = [*FORBIDDEN, ("create", "", "pods", SANDBOXES)]
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": SERVER,
                "groups": ["system:serviceaccounts", f"system:serviceaccounts:{CONTROL}", "system:authenticated"],
                "resourceAttributes": {
                    "verb": verb,
                    "group": group,
                    "resource": resource.partition("/")[0],
                    "subresource": resource.partition("/")[2],
                    "namespace": namespace,
                },
            },
        }
        for verb, group, resource, namespace in asked
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews})
    said = kubectl(applied, "create", "-f", "-", "-o", "jsonpath={.status.allowed} ", stdin=text).stdout.split()
    assert dict(zip(asked, said, strict=True)) == dict.fromkeys(FORBIDDEN, "false") | {asked[-1]: "true"}


def pod(**spec: Any) -> Json:
    """A sandbox's pod as the back end makes it."""
    made = manifest(
        Template.load(DEPLOY / "base/pod.yaml"),
        KubernetesConfig(runtime_classes={"runc": "", "gvisor": "", "gvisor-nonet": "", "gvisor-egress": ""}),
        SandboxSpec(image="envfarm/base:1", **spec),
        name="envfarm-test",
        image="envfarm/base:1",
        command=["/bin/sh", "-c", "true"],
        labels={},
        annotations={},
        deadline=None,
        egress=EgressConfig(),
    )
    return copy.deepcopy(made)


def proxy() -> Json:
    """The pod of a sandbox's proxy."""
    backend = KubernetesBackend(KubernetesConfig(template=DEPLOY / "base/pod.yaml"))
    sandbox = Pod("envfarm-test", str(uuid.uuid4()), "1", {}, {}, 0.0, "", False, {})
    return egress.manifest(backend, sandbox, ("example.org",))


def refusals(kubeconfig: str, pods: Mapping[str, Json]) -> dict[str, str]:
    """What the API says to the server that wants these pods, where it refuses them; nothing is kept."""
    for number, body in enumerate(pods.values()):
        body["metadata"]["name"] = f"envfarm-test-{number}"
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*pods.values()]})
    arguments = ("create", "--dry-run=server", f"--as={SERVER}", "-n", SANDBOXES, "-f", "-")
    lines = kubectl(kubeconfig, *arguments, stdin=text, ok=(0, 1)).stderr.splitlines()
    names = {body["metadata"]["name"]: what for what, body in pods.items()}
    found = {line: re.search(r'(?:pods|Pod) "([^"]+)"', line) for line in lines}
    return {names[match[1]]: line for line, match in found.items() if match}


def test_the_farms_own_pods_are_taken(applied: str) -> None:
    kinds = itertools.product(("runc", "gvisor"), ("none", "allowlist", "public"))
    pods = {f"{isolation} {network}": pod(isolation=isolation, network=network) for isolation, network in kinds}
    pods["proxy"] = proxy()
    assert refusals(applied, pods) == {}


def _container(change: Json) -> Callable[[Json], None]:
    return lambda spec: spec["containers"][0]["securityContext"].update(change)


def _volume(**source: Any) -> Callable[[Json], None]:
    return lambda spec: spec.update(volumes=[{"name": "it", **source}])


NET_ADMIN = {"allowPrivilegeEscalation": False, "capabilities": {"add": ["NET_ADMIN"]}}
BREAKOUTS: dict[str, tuple[Callable[[Json], None], str]] = {
    "the node's disk": (_volume(hostPath={"path": "/"}), "volumes"),
    "somebody's secret": (_volume(secret={"secretName": "it"}), "volumes"),
    "a token": (
        _volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
        "volumes",
    ),
    "the account's token": (lambda spec: spec.update(automountServiceAccountToken=True), "automountService"),
    "the node's network": (lambda spec: spec.update(hostNetwork=True), "hostNetwork"),
    "the node's processes": (lambda spec: spec.update(hostPID=True), "hostPID"),
    "privileges": (_container({"privileged": True, "allowPrivilegeEscalation": True}), "privileged"),
    "new privileges": (_container({"allowPrivilegeEscalation": True}), "allowPrivilegeEscalation"),
    "the network back": (_container({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}), "capabilities"),
    "raw packets": (_container({"capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}), "capabilities"),
    "mounts": (_container({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}), "capabilities"),
    "every system call": (_container({"seccompProfile": {"type": "Unconfined"}}), "seccomp"),
    "a sandbox that is called as its cut": (
        lambda spec: spec["containers"].append(spec["containers"][0] | {"name": "cut", "securityContext": NET_ADMIN}),
        "capabilities",
    ),
}  # fmt: skip


def test_a_pod_that_could_reach_its_node_is_refused_even_to_the_server(applied: str) -> None:
    pods = {want: pod(network="public") for want in BREAKOUTS}
    for want, (change, _) in BREAKOUTS.items():
        change(pods[want]["spec"])
    said = refusals(applied, pods)
    assert set(said) == set(BREAKOUTS)
    for want, (_, named) in BREAKOUTS.items():
        assert "ValidatingAdmissionPolicy 'envfarm-sandboxes'" in said[want], want
        assert named in said[want].partition("denied request:")[2], want


def test_the_template_is_the_farms_own_with_a_priority() -> None:
    ours = yaml.safe_load((DEPLOY.parent / "pod.yaml").read_text())
    ours["spec"]["priorityClassName"] = "envfarm-sandbox"
    assert yaml.safe_load((DEPLOY / "base/pod.yaml").read_text()) == ours


def test_no_pod_of_the_control_namespace_is_more_than_restricted(applied: str) -> None:
    body = pod(network="public")
    body["metadata"]["name"] = "intruder"
    said = kubectl(
        applied, "create", "--dry-run=server", "-n", CONTROL, "-f", "-", stdin=json.dumps(body), ok=(1,)
    ).stderr
    assert 'violates PodSecurity "restricted:latest"' in said
