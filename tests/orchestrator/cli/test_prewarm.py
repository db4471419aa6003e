"""`envfarm tasks prewarm`, as an operator runs it, on a real cluster."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.k8s.kubectl import kubectl


@pytest.fixture
def namespace(cli: Any, cluster: Any) -> Any:
    """One of this test's own, in which nothing may be left."""
    name = f"prewarm-{uuid4().hex[:8]}"
    kubectl(cluster.kubeconfig, "create", "namespace", name)
    cli.env |= {
        "KUBECONFIG": str(cluster.kubeconfig),
        "ENVFARM_KUBERNETES__NAMESPACE": name,
        "ENVFARM_IMAGES": "images.json",
    }
    yield name
    left = kubectl(cluster.kubeconfig, "-n", name, "get", "daemonsets", "-o", "name").stdout
    kubectl(cluster.kubeconfig, "delete", "namespace", name, "--wait=false")
    assert left == ""


def write(cli: Any, *images: str) -> None:
    tasks = {f"sha256:{n}": {"task": f"task-{n}", "agent": image, "verifier": image} for n, image in enumerate(images)}
    (Path(cli.folder) / "images.json").write_text(json.dumps({"tasks": tasks}))


def test_every_node_gets_every_image(cli: Any, cluster: Any, namespace: str, docker_busybox: str) -> None:
    there, fresh = cluster.push(docker_busybox), f"{cluster.registry}/prewarm:{uuid4().hex[:8]}"
    build = ["docker", "build", "-q", "-t", fresh, "-"]
    recipe = f"FROM {docker_busybox}\nLABEL of={fresh}\n"
    subprocess.run(build, input=recipe, text=True, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["docker", "push", "-q", fresh], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["docker", "rmi", fresh], check=True, stdout=subprocess.DEVNULL)
    cli.env["ENVFARM_KUBERNETES__CUT_IMAGE"] = there
    write(cli, there, fresh)
    said = cli("tasks", "prewarm").stderr
    assert said.splitlines()[-1] == "2 of 2 images are on all of 1 nodes"
    never = ["--image-pull-policy", "Never", "--restart", "Never", "--command", "--", "sh", "-c", "true"]
    kubectl(cluster.kubeconfig, "-n", namespace, "run", "it", "--image", fresh, *never)
    over = "--for=jsonpath={.status.phase}=Succeeded"
    kubectl(cluster.kubeconfig, "-n", namespace, "wait", over, "pod/it", "--timeout", "60s")


def test_what_cannot_be_pulled_is_named_with_its_node(
    cli: Any, cluster: Any, namespace: str, docker_busybox: str
) -> None:
    cli.env["ENVFARM_KUBERNETES__CUT_IMAGE"] = cluster.push(docker_busybox)
    missing = f"{cluster.registry}/nobody/has:{namespace}"
    write(cli, missing)
    said = cli("tasks", "prewarm", "--timeout", "15", code=1).stderr
    assert f"{missing}: not on " in said
    assert "not found" in said
    assert said.splitlines()[-1] == "1 of 2 images are on all of 1 nodes"


def test_without_a_table_it_says_how_to_get_one(cli: Any) -> None:
    assert "images: name the table that `envfarm tasks push` wrote" in cli("tasks", "prewarm", code=2).stderr
