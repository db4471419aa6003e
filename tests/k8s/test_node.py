"""Faults of a whole node, on a second cluster in namespaces of its own: here they would hit every other test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import docker
import pytest

from ..conftest import Cluster
from .kubectl import ROOT

SCRIPT = """
ip link set lo up
mkdir -p /var/lib/kubelet && mount -t tmpfs none /var/lib/kubelet
trap '"$NODE_SCRIPT" down' EXIT
"$NODE_SCRIPT" up
socket=/run/envfarm/$(printf %s "$CLUSTER_STATE" | sha256sum | cut -c1-8)/containerd.sock
ctr() { "$BIN/ctr" -a "$socket" -n k8s.io "$@"; }
ctr images import --local "$IMAGE_FILE" >/dev/null
ctr images tag docker.io/envfarm/busybox:1 localhost:5000/envfarm/busybox:1 >/dev/null
ctr images push --plain-http localhost:5000/envfarm/busybox:1 >/dev/null
export KUBECONFIG=$CLUSTER_STATE/admin.conf PATH=$BIN:$PATH
"$@"
"""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("which", ["not soak", pytest.param("soak", marks=pytest.mark.soak)])
def test_faults_of_a_node(cluster: Cluster, engine: docker.DockerClient, docker_busybox: str, which: str) -> None:
    if os.geteuid() != 0 or not cluster.programs:
        pytest.skip("only root can start a second cluster, with the first one's programs")
    folder = Path(tempfile.mkdtemp(prefix="cluster-", dir="/tmp"))  # short: a socket's path has at most 107 bytes
    image = folder / "image.tar"
    with image.open("wb") as file:
        file.writelines(engine.images.get(docker_busybox).save(named=True))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")} | {
        "CLUSTER_STATE": f"{folder}/state",
        "BIN": os.readlink(Path(os.environ.get("CLUSTER_STATE", "/var/lib/envfarm/cluster")) / "bin"),
        "NODE_SCRIPT": str(ROOT / "scripts/cluster/node.sh"),
        "IMAGE_FILE": str(image),
    }
    inner = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}/tmp"]
    inner += ["-m", which, "tests/k8s/node_faults.py"]
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*apart, "bash", "-euc", SCRIPT, "bash", *inner],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    shutil.rmtree(folder)
    assert done.returncode == 0, done.stdout + done.stderr
