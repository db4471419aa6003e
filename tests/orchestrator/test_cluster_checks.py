"""The doctor looks at a cluster: its API, and what a sandbox could reach."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from envfarm.k8s.config import KubernetesConfig
from envfarm.orchestrator.cluster_checks import cluster as examine
from envfarm.orchestrator.settings import Settings
from envfarm.toolbox.egress.config import EgressConfig

from ..conftest import Cluster


async def test_a_cluster_that_cuts_the_network_is_found_well(
    cluster: Cluster, image: Callable[[str], str], tmp_path: Path
) -> None:
    small, egress = cluster.push(image("busybox")), EgressConfig(image=cluster.pin(image("egress")))
    config = KubernetesConfig(kubeconfig=cluster.kubeconfig, namespace="default", cut_image=small)
    found = await examine(Settings(data=tmp_path, backend="kubernetes", kubernetes=config, egress=egress))
    cuts = [f"network {network}, {isolation}" for network in ("none", "allowlist") for isolation in ("runc", "gvisor")]
    assert [one.check for one in found] == ["cluster", *cuts]
    expected = {"ok"} if cluster.gvisor else {"ok", "note"}
    assert {one.state for one in found} == expected, found


async def test_a_cluster_that_is_away_is_missing(cluster: Cluster, tmp_path: Path) -> None:
    away = tmp_path / "config"
    away.write_text(re.sub(r"https://[^\s\"',}]+", "https://127.0.0.1:1", cluster.kubeconfig.read_text()))
    config = KubernetesConfig(kubeconfig=away)
    [found] = await examine(Settings(data=tmp_path, backend="kubernetes", kubernetes=config))
    assert found.state == "missing"
    assert "make cluster" in found.fix
