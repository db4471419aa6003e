"""A draft has one answer and nothing to spare, and each rung and each step makes it harder."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envfarm.tasks.search.difficulty import difficulty
from envfarm.tasks.search.draft import Drafted, draft
from envfarm.tasks.search.graph import Graph
from envfarm.tasks.search.obscure import Draft
from envfarm.tasks.search.phrase import phrase
from envfarm.tasks.search.query import ANSWER, answers, depth, unique
from envfarm.toolbox.search.base import Document


@pytest.fixture(scope="module")
def graph(towns: list[Document]) -> Graph:
    return Graph.of(towns)


def drafted(graph: Graph, seed: int, deep: int) -> Drafted | None:
    rng = random.Random(seed)
    for _ in range(20):
        made = draft(graph, rng.choice(sorted(graph.titles)), deep, rng)
        if made is not None:
            return made
    return None


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), deep=st.integers(1, 4))
def test_one_answer_and_every_constraint_is_needed(graph: Graph, seed: int, deep: int) -> None:
    made = drafted(graph, seed, deep)
    if made is None:
        return
    query, truth = made.draft.query, made.draft.truth
    assert answers(query, graph) == {truth[ANSWER]}
    assert depth(query) == deep
    for atom in query.atoms:
        less = query.without(atom)
        assert not unique(less, graph)
        assert not less.atoms or truth[ANSWER] in answers(less, graph)  # without any, everything is one
    assert query.wants in ("", "Inhabitants")  # the others have few values, which can be guessed
    named = phrase(query, truth, graph)
    assert {end for link in query.links for end in (link.subject, link.object) if not end.startswith("?")} == {
        one for one in graph.titles if any(one in (link.subject, link.object) for link in query.links)
    }
    assert named.startswith("I am looking for ")
    assert named.endswith("?")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), deep=st.integers(1, 4))
def test_the_same_seed_gives_the_same_and_each_rung_makes_it_harder(graph: Graph, seed: int, deep: int) -> None:
    made = drafted(graph, seed, deep)
    assert drafted(graph, seed, deep) == made
    if made is None:
        return
    rungs = made.draft.rungs
    assert rungs
    less = list(accumulate(rungs, lambda done, rung: [*done, rung], initial=[]))
    totals = [difficulty(Draft(made.draft.query, made.draft.truth, some), made.way, 3, graph)["total"] for some in less]
    assert totals == sorted(totals)
    assert len(set(totals)) == len(totals)


def test_difficulty_rises_with_depth(graph: Graph) -> None:
    mean = []
    for deep in (1, 2, 3, 4):
        made = [one for seed in range(25) if (one := drafted(graph, seed, deep))]
        assert made
        totals = [difficulty(one.draft, one.way, deep + 1, graph)["total"] for one in made]
        mean.append(sum(totals) / len(totals))
    assert mean == sorted(mean)
