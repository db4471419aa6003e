"""What a benchmark reports: ratios that mean the same for every figure, and results that find their page."""

from __future__ import annotations

from pathlib import Path

import pytest

from envfarm.orchestrator.bench.report import markdown, median, percentile, replace_table, row, time_each
from envfarm.toolbox.errors import BadRequest


def test_a_ratio_above_one_means_that_ours_is_better() -> None:
    assert row("step", "ms", 2.0, 50.0, "docker exec").ratio == 25
    assert row("churn", "1/s", 20.0, 10.0, "docker run", better="higher").ratio == 2
    assert row("memory", "MiB", 512.0, None, None).ratio is None


async def test_each_call_is_timed() -> None:
    calls = []

    async def call() -> None:
        calls.append(1)

    times = await time_each(call, 5)
    assert len(times) == len(calls) == 5
    assert median([0.001, 0.5, 0.002]) == 2


def test_a_percentile_is_one_of_the_times() -> None:
    times = [number / 1000 for number in range(200, 0, -1)]
    assert [percentile(times, share) for share in (0, 50, 99, 100)] == [1, 100, 198, 200]


def test_results_replace_those_of_the_last_run_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- results: pods -->\nothers\n<!-- end of results -->\n"
        "<!-- results: all -->\nold\n<!-- end of results -->\nafter\n"
    )
    for ours in (4.0, 2.0):
        replace_table(page, [row("step", "ms", ours, 50.0, "docker exec")])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("<!-- end of results -->\nafter\n")
    assert text.count("| step | ms |") == 1
    assert "| step | ms | 2 | 50 | docker exec | 25 |" in text
    assert "old" not in text
    assert "others" in text


def test_a_page_without_a_place_for_results_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    with pytest.raises(BadRequest, match="results"):
        replace_table(page, [])
    assert page.read_text() == "nothing\n"


def test_the_projects_page_has_its_places() -> None:
    page = Path(__file__).parents[3] / "docs/benchmarks.md"
    assert all(f"<!-- results: {name} -->\n" in page.read_text() for name in ("all", "pods", "cluster", "search"))
    assert markdown([]).count("\n") == 1
