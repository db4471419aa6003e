"""The scripts behind `make`: they can be read, run twice without doing anything twice, and name what is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted([*ROOT.glob("scripts/**/*.sh"), ROOT / ".ci/run"])


def run(*command: str | Path, code: int = 0, **env: str) -> str:
    """Run a program without a terminal and without standard input; its standard error."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, f"{done.stdout}{done.stderr}"
    return done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_sound_and_stops_at_errors(script: Path) -> None:
    run("bash", "-n", script)
    text = script.read_text()
    assert "set -euo pipefail" in text or "Sourced" in text
    assert os.access(script, os.X_OK) or "Sourced" in text


def test_make_alone_says_what_there_is() -> None:
    shown = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "lint", "bench", "clean", "help", "cluster", "cluster-down"):
        assert f"make {target} " in shown


def test_an_engine_that_answers_is_left_alone() -> None:
    assert "Docker engine: " in run(ROOT / "scripts/engine.sh")
    assert "starting" not in run(ROOT / "scripts/engine.sh")


def test_an_engine_that_is_named_and_does_not_answer_is_an_error(tmp_path: Path) -> None:
    said = run(ROOT / "scripts/engine.sh", code=1, DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert said.splitlines() == [
        f"error: DOCKER_HOST is unix://{tmp_path}/none.sock and no engine answers there: start it, or unset DOCKER_HOST"
    ]


def test_images_are_made_once(engine: docker.DockerClient, image: Callable[[str], str]) -> None:
    names = ("base", "busybox", "go", "node", "rust")
    before = {name: engine.images.get(image(name)).id for name in names}
    assert "building" not in run(ROOT / "scripts/images.sh")
    assert {name: engine.images.get(f"envfarm/{name}:1").id for name in names} == before


def test_an_image_without_a_recipe_is_an_error() -> None:
    said = run(ROOT / "scripts/images.sh", "haskell", code=1)
    known = " ".join(sorted(folder.name for folder in (ROOT / "images").iterdir()))
    assert f"error: no image haskell: there are {known}" in said


def uid(cluster: Any) -> str:
    """Who the cluster is, in spite of tests that kill its API server meanwhile."""
    words = ["get", "namespace", "default", "-o", "jsonpath={.metadata.uid}"]
    for _ in range(30):
        with suppress(AssertionError):
            return str(cluster.kubectl(*words))
        time.sleep(1)
    return str(cluster.kubectl(*words))


def test_a_cluster_that_answers_is_left_alone(cluster: Any) -> None:
    before = uid(cluster)
    said = run(ROOT / "scripts/cluster.sh")
    assert "starting" not in said
    assert "building" not in said
    assert uid(cluster) == before


def test_a_program_of_the_cluster_that_was_killed_starts_again(cluster: Any) -> None:
    if not cluster.programs:
        pytest.skip("the cluster is somebody else's")
    cluster.kill("controllers")
    cluster.start("controllers")
    assert "starting" not in run(ROOT / "scripts/cluster.sh")


def test_a_cluster_begins_anew_when_all_of_it_died_and_leaves_nothing(cluster: Any) -> None:
    """A second one, in namespaces of its own, which also end what it forgets.

    The third time its files are gone too, and only the kernel remembers it: so a machine is found whose checks run in a
    new file system.
    """
    if os.geteuid() != 0 or not cluster.programs:
        pytest.skip("only root can start a second cluster, with the first one's programs")
    folder = Path(tempfile.mkdtemp(prefix="cluster-", dir="/tmp"))  # short: a socket's path has at most 107 bytes
    programs = os.readlink(Path(os.environ.get("CLUSTER_STATE", "/var/lib/envfarm/cluster")) / "bin")
    said = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
         "bash", "-euc", SECOND, "bash", ROOT / "scripts/cluster/node.sh"],
        env={**os.environ, "CLUSTER_STATE": f"{folder}/state", "BIN": programs},
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stderr.count("cluster: starting") == 3
    assert said.stdout.split("left:\n")[1] == ""
    assert list(folder.iterdir()) == []
    folder.rmdir()


SECOND = """
ip link set lo up
mkdir -p /var/lib/kubelet && mount -t tmpfs none /var/lib/kubelet
mounts=$(wc -l </proc/mounts)
"$1" up
for name in etcd apiserver containerd; do "$1" kill $name; done
"$1" up
for name in kubelet proxy dns scheduler controllers registry etcd apiserver containerd; do "$1" kill $name; done
iptables -t nat -S | grep -q KUBE-SERVICES
id=$(printf %s "$CLUSTER_STATE" | sha256sum | cut -c1-8)
awk -v k="$CLUSTER_STATE/" 'index($2, k) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l
rm -rf "$CLUSTER_STATE" "/run/envfarm/$id"
"$1" up
"$1" down
echo left:
for table in nat filter mangle; do iptables -t $table -S | grep -v '^-P' || true; done
ip -o link | grep -v ' lo: ' || true
find /sys/fs/cgroup -maxdepth 2 -name "envfarm-cluster-$id"
ps -e -o args= | grep "$CLUSTER_STATE" | grep -v grep || true
[ "$(wc -l </proc/mounts)" -le "$mounts" ] || cat /proc/mounts
"""


def test_a_kubeconfig_that_leads_nowhere_is_an_error(cluster: Any, tmp_path: Path) -> None:
    del cluster  # so that there is a kubectl
    said = run(ROOT / "scripts/cluster.sh", code=1, KUBECONFIG=f"{tmp_path}/none")
    assert said.splitlines() == [
        f"error: KUBECONFIG is {tmp_path}/none and no cluster answers there: start it, or unset KUBECONFIG"
    ]


def test_an_unknown_program_of_the_cluster_is_an_error() -> None:
    said = run(ROOT / "scripts/cluster.sh", "kill", "kubelets", code=1)
    assert said.startswith("error: no program kubelets to kill: there are etcd registry containerd apiserver")


def test_a_checkout_with_its_environment_installs_nothing_again(tmp_path: Path) -> None:
    """In a copy of the scripts, so that this environment is not touched when it is not as it should be."""
    if (ROOT / ".venv/envfarm-stamp").exists():
        assert run(ROOT / "scripts/python.sh") == ""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("gvisor"))
    (tmp_path / "pyproject.toml").write_text("= broken")
    said = run(tmp_path / "scripts/python.sh", code=1)
    assert "installing envfarm into .venv" in said
    assert "whole log: " in said
