"""The deployment with kubectl: every overlay is taken by a real API server, and the disposable one serves episodes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from envfarm.orchestrator.settings import Settings
from tests.k8s.kubectl import CONTROL, DEPLOY, ROOT, SANDBOXES, kubectl

OVERLAYS = ("single", "ha", "disposable", "disposable-ha")
TASK, WITHOUT_IMAGES = "terminal/undo-chmod-777", "terminal/when-does-cron-run-next"


def built(folder: Path) -> list[dict[str, Any]]:
    """What `kubectl kustomize` makes of a folder."""
    done = subprocess.run(
        [ROOT / "scripts/cluster.sh", "kubectl", "kustomize", folder], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(done.stdout))


def on_top(folder: Path, overlay: str, **fields: Any) -> Path:
    """An overlay on one of ours, as an operator writes it."""
    place = os.path.relpath(DEPLOY / f"overlays/{overlay}", folder)
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump({"kind": "Kustomization", "resources": [place], **fields})
    )
    return folder


@pytest.fixture(scope="module")
def namespaces(cluster: Any) -> str:
    """The kubeconfig of a cluster with the farm's namespaces, without which nothing can be tried."""
    kubectl(cluster.kubeconfig, "apply", "-f", DEPLOY / "base/namespaces.yaml")
    return str(cluster.kubeconfig)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_taken_by_the_api(namespaces: str, overlay: str, tmp_path: Path) -> None:
    changes = {} if overlay.startswith("disposable") else {"nameSuffix": "-try"}  # beside what may be deployed
    done = kubectl(namespaces, "apply", "-k", on_top(tmp_path, overlay, **changes), "--dry-run=server")
    assert "statefulset.apps/envfarm" in done.stdout
    assert "Warning: would violate PodSecurity" not in done.stderr


@pytest.mark.parametrize("component", ["ingress", "monitoring"])
def test_what_not_every_cluster_has_is_left_to_the_operator(component: str, tmp_path: Path) -> None:
    kinds = {"Ingress", "ServiceMonitor", "PrometheusRule"}
    assert not any(one["kind"] in kinds for one in built(DEPLOY / "overlays/ha"))
    place = os.path.relpath(DEPLOY / f"components/{component}", tmp_path)
    assert kinds & {one["kind"] for one in built(on_top(tmp_path, "ha", components=[place]))}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_speaks_of_settings_that_there_are_and_lets_a_server_drain(overlay: str) -> None:
    objects = built(DEPLOY / f"overlays/{overlay}")
    [values] = [one["data"] for one in objects if one["metadata"]["name"].startswith("envfarm-settings")]
    [servers] = [one["spec"] for one in objects if (one["kind"], one["metadata"]["name"]) == ("StatefulSet", "envfarm")]
    pod = servers["template"]["spec"]
    names = [*values, *(one["name"] for one in pod["containers"][0]["env"] if one["name"].startswith("ENVFARM_"))]
    known = {f"ENVFARM_{name.upper()}" for name in Settings.model_fields}
    assert {name.partition("__")[0] for name in names} - known == set()
    assert pod["terminationGracePeriodSeconds"] > float(values.get("ENVFARM_DRAIN_SECONDS", 30)) + 15


def clean() -> dict[str, str]:
    """The environment without what is set of the farm's, such as where the scripts find their cluster."""
    return {key: value for key, value in os.environ.items() if not key.startswith("ENVFARM_")}


@dataclass(frozen=True)
class Deployed:
    """A farm in the cluster, as it is seen from outside."""

    url: str
    token: str
    folder: Path
    data: Path

    def envfarm(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command against it."""
        done = subprocess.run(
            [Path(sys.executable).parent / "envfarm", *arguments],
            cwd=self.data,
            env=clean() | {"ENVFARM_URL": self.url, "ENVFARM_TOKEN": self.token},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"{done.stdout}{done.stderr}"
        return done

    def status(self, path: str, token: str = "") -> int:
        """The HTTP status of a path."""
        request = urllib.request.Request(
            f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code


@pytest.fixture(scope="module")
def deployed(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The disposable overlay with the images of one task. At its end the servers and their sandboxes go."""
    data = tmp_path_factory.mktemp("deployed")
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    command = [
        Path(sys.executable).parent / "envfarm",
        "tasks",
        "push",
        cluster.registry,
        TASK,
        "--into",
        data / "it.json",
    ]
    subprocess.run(command, cwd=data, env=clean(), check=True, stdin=subprocess.DEVNULL)
    done = subprocess.run(
        [ROOT / "scripts/deploy.sh", "disposable", data / "it.json"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0
    found = dict(word.split("=", 1) for word in shlex.split(done.stdout))
    yield Deployed(found["ENVFARM_URL"], found["ENVFARM_TOKEN"], ROOT / ".cache/deploy/disposable", data)
    kubectl(cluster.kubeconfig, "-n", CONTROL, "delete", "statefulset", "envfarm")
    kubectl(cluster.kubeconfig, "-n", SANDBOXES, "delete", "pods", "--all", "--wait=false")


@pytest.mark.timeout(900)  # the image may have to be built first
def test_it_becomes_ready_and_asks_for_its_token(deployed: Deployed) -> None:
    assert deployed.status("/ready") == 200
    assert deployed.status("/v1/tasks") == 401
    assert deployed.status("/v1/tasks", deployed.token) == 200


def test_to_apply_it_again_changes_nothing(cluster: Any, deployed: Deployed) -> None:
    said = kubectl(cluster.kubeconfig, "apply", "-k", deployed.folder).stdout.splitlines()
    assert [line for line in said if not line.endswith(" unchanged")] == []
    assert kubectl(cluster.kubeconfig, "diff", "-k", deployed.folder).stdout == ""


def test_an_episode_from_outside_earns_its_reward(deployed: Deployed) -> None:
    assert json.loads(deployed.envfarm("run", TASK, "--policy", "oracle", "--json").stdout)["reward"] == 1


def test_a_task_whose_images_were_not_pushed_names_the_command(deployed: Deployed) -> None:
    said = deployed.envfarm("run", WITHOUT_IMAGES, "--policy", "oracle", code=2)
    assert f"run `envfarm tasks push REGISTRY {WITHOUT_IMAGES}`" in said.stdout + said.stderr


def test_a_server_can_write_its_data_and_nothing_else(cluster: Any, deployed: Deployed) -> None:
    script = "touch /data/it /tmp/it && ! touch /opt/envfarm/it 2>/dev/null && id -u && ! command -v gcc cc pip"
    said = kubectl(cluster.kubeconfig, "-n", CONTROL, "exec", "envfarm-0", "--", "sh", "-c", script).stdout
    assert said.split() == ["10001"]
