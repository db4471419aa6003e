"""The token bucket, on a clock of our own."""

from __future__ import annotations

import pytest

from envfarm.toolbox.quota import Bucket, RunQuota


def test_a_burst_then_the_rate() -> None:
    bucket = Bucket(rate=4.0, burst=3.0)
    assert [bucket.take(100.0) for _ in range(5)] == [0, 0, 0, pytest.approx(0.25), pytest.approx(0.5)]


def test_it_fills_up_again_but_not_beyond_its_burst() -> None:
    bucket = Bucket(rate=4.0, burst=2.0)
    assert [bucket.take(0.0) for _ in range(2)] == [0, 0]
    assert bucket.take(0.25) == 0
    assert bucket.wait(0.25) == pytest.approx(0.25)
    assert [bucket.take(1000.0) for _ in range(3)] == [0, 0, pytest.approx(0.25)]


def test_asking_takes_nothing() -> None:
    bucket = Bucket(rate=1.0, burst=1.0)
    assert bucket.wait(5.0) == bucket.wait(5.0) == 0
    bucket.take(5.0)
    assert bucket.wait(5.0) == bucket.wait(5.0) == 1


def test_a_rate_that_stays_keeps_its_bucket() -> None:
    quota = RunQuota()
    quota.set_qps({"search": 2.0, "bash": 0.5})
    search = quota.buckets["search"]
    assert (search.burst, quota.buckets["bash"].burst) == (2.0, 1.0)
    quota.set_qps({"search": 2.0})
    assert quota.buckets == {"search": search}
    quota.set_qps({"search": 3.0})
    assert quota.buckets["search"] is not search
