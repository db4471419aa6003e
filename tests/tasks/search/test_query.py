"""Queries are answered exactly: by narrowing domains as by trying every choice."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from envfarm.tasks.search.graph import Graph
from envfarm.tasks.search.query import ANSWER, Link, Query, Value, answers, holding, names, unique, variable
from envfarm.toolbox.search.base import Document

RELATIONS = ("Near", "Above")
ENTITIES = tuple("abcdefg")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A few entities, two of the same name, linked by chance; each has a size and a colour."""
    ends = st.sampled_from(ENTITIES)
    links = draw(st.lists(st.tuples(ends, st.sampled_from(RELATIONS), ends), min_size=6, max_size=24))
    documents = []
    for at, id in enumerate(ENTITIES):
        lines = [f"{one[1]}: [x]({one[2]})" for one in links if one[0] == id]
        lines += [f"Size: {draw(st.integers(1, 4))}", f"Colour: {draw(st.sampled_from(['red', 'rose', 'blue']))}"]
        documents.append(Document(id=id, title=f"The {id if at else 'g'}", text="\n".join(lines)))
    return Graph.of(documents)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """A connected query: a tree of variables, perhaps with rings, names and literals."""
    terms = [ANSWER]
    links = []
    for at in range(draw(st.integers(0, 3))):
        links.append(draw(_link(st.sampled_from(terms), st.just(f"?x{at}"))))
        terms.append(f"?x{at}")
    some = st.sampled_from(terms)
    links += draw(st.lists(_link(some, st.sampled_from([*terms, *ENTITIES])), max_size=3))
    values = draw(st.lists(st.one_of(_range(some), _colour(some)), max_size=2))
    return Query(links=tuple(dict.fromkeys(links)), values=tuple(dict.fromkeys(values)))


def _link(one: st.SearchStrategy[str], other: st.SearchStrategy[str]) -> st.SearchStrategy[Link]:
    ends = st.tuples(one, other).flatmap(st.permutations)
    return st.builds(
        lambda pair, name: Link(subject=pair[0], relation=name, object=pair[1]), ends, st.sampled_from(RELATIONS)
    )


def _range(of: st.SearchStrategy[str]) -> st.SearchStrategy[Value]:
    return st.builds(Value, of=of, relation=st.just("Size"), low=st.integers(1, 3), high=st.integers(2, 4))


def _colour(of: st.SearchStrategy[str]) -> st.SearchStrategy[Value]:
    exact = st.builds(Value, of=of, relation=st.just("Colour"), equals=st.sampled_from(["red", "blue"]))
    return st.one_of(exact, st.builds(Value, of=of, relation=st.just("Colour"), starts=st.sampled_from(["R", "b"])))


def tried(query: Query, graph: Graph) -> set[str]:
    """The answers, by every choice of an entity for every variable."""
    terms = {ANSWER, *(one.of for one in query.values)}
    terms |= {term for one in query.links for term in (one.subject, one.object) if variable(term)}
    free = sorted(terms)
    found = set()
    for choice in product(ENTITIES, repeat=len(free)):
        of = dict(zip(free, choice, strict=True))
        linked = all(
            of.get(one.object, one.object)
            in graph.links.get(one.relation, {}).get(of.get(one.subject, one.subject), ())
            for one in query.links
        )
        if linked and all(of[one.of] in holding(one, graph) for one in query.values):
            found.add(of[ANSWER])
    return found


@settings(max_examples=300, deadline=None)
@given(graphs(), queries().filter(lambda query: bool(query.atoms)))
def test_narrowing_gives_what_trying_everything_gives(graph: Graph, query: Query) -> None:
    about_the_answer = any(ANSWER in (one.subject, one.object) for one in query.links)
    if not about_the_answer and not any(one.of == ANSWER for one in query.values):
        return
    expected = tried(query, graph)
    assert answers(query, graph) == expected
    called = {graph.title(one).casefold() for one in expected}
    assert names(query, graph) == called
    assert unique(query, graph) == (len(called) == 1)
