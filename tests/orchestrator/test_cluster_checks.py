"""The doctor looks at a cluster: its API, and what a sandbox could reach."""

from __future__ import annotations

import re
from pathlib import Path

from envfarm.k8s.config import KubernetesConfig
from envfarm.orchestrator.cluster_checks import cluster as examine
from envfarm.orchestrator.settings import Settings

from ..conftest import Cluster


async def test_a_cluster_that_cuts_the_network_is_found_well(cluster: Cluster, tmp_path: Path) -> None:
    image = cluster.push("envfarm/busybox:1")
    config = KubernetesConfig(kubeconfig=cluster.kubeconfig, namespace="default", cut_image=image)
    found = await examine(Settings(data=tmp_path, backend="kubernetes", kubernetes=config))
    assert [one.check for one in found] == ["cluster", "network none, runc", "network none, gvisor"]
    expected = {"ok"} if cluster.gvisor else {"ok", "note"}
    assert {one.state for one in found} == expected, found


async def test_a_cluster_that_is_away_is_missing(cluster: Cluster, tmp_path: Path) -> None:
    away = tmp_path / "config"
    away.write_text(re.sub(r"https://[^\s\"',}]+", "https://127.0.0.1:1", cluster.kubeconfig.read_text()))
    config = KubernetesConfig(kubeconfig=away)
    [found] = await examine(Settings(data=tmp_path, backend="kubernetes", kubernetes=config))
    assert found.state == "missing"
    assert "make cluster" in found.fix
