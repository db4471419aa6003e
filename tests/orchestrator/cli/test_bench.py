"""`envfarm bench`: which benchmarks there are; what they measure is run by `make bench`."""

from __future__ import annotations

import json
from typing import Any


def test_an_unknown_benchmark_is_named_with_those_there_are(cli: Any) -> None:
    said = cli("bench", "speed", code=2).stderr
    for name in ("step", "start", "churn", "fork", "steps", "pods", "cluster"):
        assert name in said


def test_json_is_a_list_of_figures_beside_their_peers(cli: Any) -> None:
    rows = json.loads(cli("bench", "steps", "--rounds", "1", "--json").stdout)
    assert all(set(row) == {"name", "unit", "ours", "peer", "peer_name", "ratio"} for row in rows)
    assert all(row["ours"] > 0 for row in rows)
    assert any(row["peer"] for row in rows)
