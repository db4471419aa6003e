"""Drawing tasks by how they went: who is in the band, how likely each is, and what a seed promises."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from envfarm.orchestrator.farm.sampling import Record, sample
from envfarm.orchestrator.schemas.tasks import SampleRequest
from envfarm.tasks.spec import Task, TaskConfig

RECORDS = {"a/hard": Record(10, 0), "a/fair": Record(10, 5), "b/easy": Record(10, 10), "b/tried-once": Record(1, 1)}


def tasks(*ids: str) -> list[Task]:
    return [Task(id=id, path=Path(), instruction="", config=TaskConfig(), digest="") for id in ids]


ALL = tasks(*RECORDS, "b/new")


def drawn(**request: Any) -> Counter[str]:
    view = sample(ALL, RECORDS, SampleRequest(**{"n": 100, **request}))
    assert (view.tasks, view.candidates) == (len(ALL), view.candidates)
    return Counter(one.task for one in view.items)


def test_without_conditions_every_task_comes_once() -> None:
    assert drawn() == Counter([task.id for task in ALL])


def test_the_band_leaves_out_what_is_solved_never_or_always() -> None:
    assert set(drawn(pass_rate=(0.1, 0.9), new=0)) == {"a/fair"}
    assert set(drawn(pass_rate=(0.1, 0.9))) == {"a/fair", "b/new"}
    assert set(drawn(pass_rate=(0.1, 0.9), min_attempts=4)) == {"a/fair", "b/new", "b/tried-once"}
    assert set(drawn(pass_rate=(0, 0), new=0)) == {"a/hard"}
    assert drawn(pass_rate=(0.6, 0.9), new=0) == Counter()


def test_a_source_has_its_share_however_many_tasks_it_has() -> None:
    many = drawn(n=4000, repeat=True, weights={"a": 3, "b": 1}, seed=1)
    share = (many["a/hard"] + many["a/fair"]) / many.total()
    assert share == pytest.approx(0.75, abs=0.03)
    assert set(drawn(weights={"b": 1})) == {"b/easy", "b/tried-once", "b/new"}


def test_a_new_task_is_as_likely_as_it_is_said_to_be() -> None:
    many = drawn(n=5000, repeat=True, new=4, seed=2)
    assert many["b/new"] / many["a/fair"] == pytest.approx(4, rel=0.15)


def test_what_is_drawn_says_how_it_went() -> None:
    [fair] = sample(ALL, RECORDS, SampleRequest(n=5, pass_rate=(0.4, 0.6), new=0)).items
    assert fair.model_dump() == {
        "task": "a/fair",
        "dataset": "a",
        "kind": "terminal",
        "attempts": 10,
        "passes": 5,
        "pass_rate": 0.5,
    }


@given(st.integers(), st.integers(1, 5), st.booleans())
def test_a_seed_draws_the_same_again_and_nothing_twice_unless_asked(seed: int, n: int, repeat: bool) -> None:
    request = SampleRequest(n=n, repeat=repeat, seed=seed % 1000, weights={"a": 1, "b": 2})
    first, again = (sample(ALL, RECORDS, request) for _ in range(2))
    assert first == again
    assert len(first.items) == n
    assert repeat or len({one.task for one in first.items}) == n


def test_a_band_upside_down_is_refused() -> None:
    with pytest.raises(ValidationError, match="lower bound first"):
        SampleRequest(n=1, pass_rate=(0.9, 0.1))
