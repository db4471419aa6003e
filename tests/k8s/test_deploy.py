"""The deployment with kubectl: every overlay is taken by a real API server, and the disposable one serves episodes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from envfarm.orchestrator.settings import Settings
from envfarm.trainers.client import Client
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
    before: set[str] = set()
    for one in pod["containers"][0]["env"]:
        assert set(re.findall(r"\$\((\w+)\)", one.get("value", ""))) <= before, f"{one} comes too early"
        before.add(one["name"])
    assert pod["terminationGracePeriodSeconds"] > float(values.get("ENVFARM_DRAIN_SECONDS", 30)) + 15


def bash(command: str) -> list[dict[str, Any]]:
    return [{"name": "bash", "arguments": {"command": command}}]


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
    kubeconfig: str

    def kubectl(self, *arguments: str) -> str:
        """What kubectl says about the servers."""
        return kubectl(self.kubeconfig, "-n", CONTROL, *arguments).stdout

    def restarts(self) -> list[str]:
        """How often each server's container was started again, as `pod=times`."""
        each = '{range .items[*]}{.metadata.name}={.status.containerStatuses[0].restartCount}{"\\n"}{end}'
        return self.kubectl("get", "pods", "-l", "app.kubernetes.io/name=envfarm", "-o", f"jsonpath={each}").split()

    async def train(self, run: str, last: asyncio.Event) -> list[tuple[list[str], int, dict[str, Any]]]:
        """Play short episodes until one began after an event: what the sandbox counted, the steps, the reward."""
        played = []
        async with Client(self.url, token=self.token, run=run, patience=180) as client:
            going = True
            while going:
                going = not last.is_set()
                [episode] = await client.create(TASK)
                for turn in range(6):
                    await client.step(episode["id"], bash(f"echo {turn} >> /root/count; sleep 0.3"), turn=turn)
                answer = await client.step(episode["id"], bash("cat /root/count"))
                await client.finish(episode["id"])
                counted = answer["results"][0]["content"].split()
                played.append((counted, 6, await client.wait_reward(episode["id"])))
        return played

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
def pushed(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of one task's images, which are in the cluster's registry."""
    table = tmp_path_factory.mktemp("pushed") / "it.json"
    command = [Path(sys.executable).parent / "envfarm", "tasks", "push", cluster.registry, TASK, "--into", table]
    subprocess.run(command, cwd=table.parent, env=clean(), check=True, stdin=subprocess.DEVNULL)
    return table


@contextmanager
def deploy(overlay: str, kubeconfig: str, table: Path) -> Iterator[Deployed]:
    """An overlay with this checkout's images. At its end the servers and their sandboxes go."""
    done = subprocess.run(
        [ROOT / "scripts/deploy.sh", overlay, table],
        env={**os.environ, "KUBECONFIG": kubeconfig},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert done.returncode == 0
        found = dict(word.split("=", 1) for word in shlex.split(done.stdout))
        folder = ROOT / ".cache/deploy" / overlay
        yield Deployed(found["ENVFARM_URL"], found["ENVFARM_TOKEN"], folder, table.parent, kubeconfig)
    finally:
        kubectl(kubeconfig, "-n", CONTROL, "delete", "statefulset", "--all")
        kubectl(kubeconfig, "-n", SANDBOXES, "delete", "pods", "--all", "--wait=false")


@pytest.fixture(scope="class")
def deployed(request: pytest.FixtureRequest, cluster: Any, pushed: Path) -> Iterator[Deployed]:
    """The class's overlay."""
    with deploy(request.cls.overlay, str(cluster.kubeconfig), pushed) as farm:
        yield farm


@pytest.mark.timeout(900)  # the image may have to be built first
class TestAlone:
    overlay = "disposable"

    def test_it_becomes_ready_and_asks_for_its_token(self, deployed: Deployed) -> None:
        assert deployed.status("/ready") == 200
        assert deployed.status("/v1/tasks") == 401
        assert deployed.status("/v1/tasks", deployed.token) == 200

    def test_to_apply_it_again_changes_nothing(self, deployed: Deployed) -> None:
        unchanged(deployed)

    def test_an_episode_from_outside_earns_its_reward(self, deployed: Deployed) -> None:
        assert json.loads(deployed.envfarm("run", TASK, "--policy", "oracle", "--json").stdout)["reward"] == 1

    def test_a_task_whose_images_were_not_pushed_names_the_command(self, deployed: Deployed) -> None:
        said = deployed.envfarm("run", WITHOUT_IMAGES, "--policy", "oracle", code=2)
        assert f"run `envfarm tasks push REGISTRY {WITHOUT_IMAGES}`" in said.stdout + said.stderr

    def test_a_server_can_write_its_data_and_nothing_else(self, deployed: Deployed) -> None:
        script = "touch /data/it /tmp/it && ! touch /opt/envfarm/it 2>/dev/null && id -u && ! command -v gcc cc pip"
        assert deployed.kubectl("exec", "envfarm-0", "--", "sh", "-c", script).split() == ["10001"]


@pytest.mark.timeout(900)
class TestThreeServers:
    overlay = "disposable-ha"

    def test_to_apply_it_again_changes_nothing(self, deployed: Deployed) -> None:
        unchanged(deployed)

    async def test_a_rolling_update_under_load_loses_no_episode(self, deployed: Deployed) -> None:
        """Episodes end while servers go, too, so that scoring is handed on as steps are."""
        updated = asyncio.Event()
        trainers = [asyncio.create_task(deployed.train(f"run-{number}", updated)) for number in range(4)]
        await asyncio.to_thread(deployed.kubectl, "rollout", "restart", "statefulset/envfarm")
        await asyncio.to_thread(deployed.kubectl, "rollout", "status", "statefulset/envfarm", "--timeout", "600s")
        updated.set()
        played = [episode for trainer in await asyncio.gather(*trainers) for episode in trainer]
        assert len(played) > len(trainers)
        for counted, steps, reward in played:
            assert counted == [str(number) for number in range(steps)]
            assert reward["value"] == 0.0, reward  # of work that does not do what the task asks
        assert {pod.split("=")[1] for pod in deployed.restarts()} == {"0"}


def unchanged(deployed: Deployed) -> None:
    """Not by what `apply` says: it calls a PodDisruptionBudget `configured` that it did not change."""
    assert kubectl(deployed.kubeconfig, "diff", "-k", deployed.folder).stdout == ""
    each = "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.generation}{.data}{.spec}{end}"
    before = kubectl(deployed.kubeconfig, "get", "-k", deployed.folder, "-o", each).stdout
    kubectl(deployed.kubeconfig, "apply", "-k", deployed.folder)
    assert kubectl(deployed.kubeconfig, "get", "-k", deployed.folder, "-o", each).stdout == before
