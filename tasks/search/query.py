"""A question's formal query: a conjunction over variables, and its answers in the whole graph.

Two variables may stand for the same entity. People read `a second package` as another one, which can only take answers
away: what is proved unique here is unique as people read it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from pydantic import BaseModel, ConfigDict

from envfarm.tasks.search.graph import Graph

ANSWER = "?a"
Entities = set[str] | frozenset[str]
Domains = dict[str, Entities]
Ways = dict[str, list[str]]  # from an entity to its neighbours by one relation
Arc = tuple[str, str, Ways, Ways]  # from a term to another, and back


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Link(_Model):
    """A relation holds between two terms: a variable `?x`, or the id of an entity."""

    subject: str
    relation: str
    object: str


class Value(_Model):
    """A variable's entity has a literal: this one, one that starts so, or one in a range whose ends count."""

    of: str
    relation: str
    equals: str | None = None
    starts: str | None = None
    low: float | None = None
    high: float | None = None


Atom = Link | Value


class Query(_Model):
    """All of it holds; `?a` is asked for, or, where `wants` names a relation, its literal."""

    links: tuple[Link, ...] = ()
    values: tuple[Value, ...] = ()
    wants: str = ""

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """Every constraint."""
        return (*self.links, *self.values)

    def without(self, atom: Atom) -> Query:
        """The same with one constraint less, and without what then has no connection to the answer."""
        links = tuple(one for one in self.links if one != atom)
        values = tuple(one for one in self.values if one != atom)
        near = set(distances(links))
        return Query(
            links=tuple(one for one in links if one.subject in near and one.object in near),
            values=tuple(one for one in values if one.of in near),
            wants=self.wants,
        )


def variable(term: str) -> bool:
    """Whether a term is free."""
    return term.startswith("?")


def distances(links: tuple[Link, ...]) -> dict[str, int]:
    """Links between the answer and each term connected with it. A constant is an end: no way leads through it."""
    found, newest = {ANSWER: 0}, [ANSWER]
    while newest:
        reached = []
        for term in newest:
            for one in links if variable(term) else ():
                for here, there in ((one.subject, one.object), (one.object, one.subject)):
                    if here == term and there not in found:
                        found[there] = found[term] + 1
                        reached.append(there)
        newest = reached
    return found


def depth(query: Query) -> int:
    """Links from the answer to the farthest term."""
    return max(distances(query.links).values())


def holding(value: Value, graph: Graph) -> frozenset[str]:
    """The entities for which a constraint on a literal holds."""
    if value.equals is not None:
        return graph.having(value.relation, value.equals)
    if value.starts is not None:
        return graph.starting(value.relation, value.starts)
    low = float("-inf") if value.low is None else value.low
    high = float("inf") if value.high is None else value.high
    return frozenset(graph.between(value.relation, low, high))


def answers(query: Query, graph: Graph) -> set[str]:
    """Every entity that can be the answer, exactly."""
    return set(_found(query, graph))


def names(query: Query, graph: Graph) -> set[str]:
    """What the answers are called; entities of one name count as one."""
    return {graph.title(one).casefold() for one in _found(query, graph)}


def unique(query: Query, graph: Graph) -> bool:
    """Whether there is exactly one answer in the whole graph."""
    if query.wants:
        found = list(islice(_found(query, graph), 2))
        return len(found) == 1 and len(graph.values.get(query.wants, {}).get(found[0], ())) == 1
    called = ""
    for one in _found(query, graph):
        name = graph.title(one).casefold()
        if called not in ("", name):
            return False
        called = name
    return called != ""


def _found(query: Query, graph: Graph) -> Iterator[str]:
    """The answers one after the other: who only asks whether there are two need not wait for the rest."""
    start: Domains = {}
    for value in query.values:
        found = holding(value, graph)
        start[value.of] = start[value.of] & found if value.of in start else found
    for one in query.links:
        start.update({term: {term} for term in (one.subject, one.object) if not variable(term)})
    terms = {term for one in query.links for term in (one.subject, one.object)}
    exact = not _cyclic(query, terms)
    domains = _narrow(query, graph, start, whole=not exact)
    if domains is None or ANSWER not in domains:
        return
    for entity in sorted(domains[ANSWER]):
        if exact or _possible(query, graph, {**domains, ANSWER: {entity}}):
            yield entity


def _narrow(query: Query, graph: Graph, domains: Domains, *, whole: bool = True) -> Domains | None:
    """Take away what no link allows, until nothing changes; None where nothing is left. Exact without a cycle.

    The smallest domain goes first, so that what a name leaves meets what a common literal leaves, and not all of that
    is followed through the graph. Without `whole` only the domain of the answer is sure to be exact, and links are
    followed away from it only where that spares work.
    """
    far = {} if whole else distances(query.links)
    domains = dict(domains)
    around: dict[str, list[Arc]] = {}
    for one in query.links:
        ways, back = graph.links.get(one.relation, {}), graph.backlinks.get(one.relation, {})
        around.setdefault(one.subject, []).append((one.subject, one.object, ways, back))
        around.setdefault(one.object, []).append((one.object, one.subject, back, ways))
    waiting = {(arc[0], at): arc for term in around if term in domains for at, arc in enumerate(around[term])}
    if not waiting and query.links:
        first = query.links[0]
        domains[first.subject] = set(graph.links.get(first.relation, ()))
        waiting = {(first.subject, at): arc for at, arc in enumerate(around[first.subject])}
    while waiting:
        key = min(waiting, key=lambda one: (len(domains[one[0]]), one))
        known, other, ways, back = waiting.pop(key)
        before = domains.get(other)
        away = far.get(other, 0) > far.get(known, 0)
        if away and before is not None and len(before) <= len(domains[known]):
            continue
        domains[other] = after = _reached(domains[known], before, ways, back)
        if not after:
            return None
        if before is None or len(after) < len(before):
            waiting |= {(other, at): arc for at, arc in enumerate(around[other])}
    return domains if all(domains.values()) else None


def _reached(sources: Entities, targets: Entities | None, ways: Ways, back: Ways) -> Entities:
    """Those of the targets that a link leads to from one of the sources."""
    if targets is not None and len(targets) <= len(sources):
        return {one for one in targets if not sources.isdisjoint(back.get(one, ()))}
    reached = {there for one in sources for there in ways.get(one, ())}
    return reached if targets is None else targets & reached


def _cyclic(query: Query, free: set[str]) -> bool:
    """Whether links form a ring of free variables: then taking away is not enough."""
    groups = {term: term for term in free if variable(term)}

    def root(term: str) -> str:
        while groups[term] != term:
            term = groups[term]
        return term

    for one in query.links:
        if one.subject in groups and one.object in groups:
            first, second = root(one.subject), root(one.object)
            if first == second:
                return True
            groups[first] = second
    return False


def _possible(query: Query, graph: Graph, domains: Domains) -> bool:
    """Whether some choice satisfies everything: split the domain of a variable in a ring until no ring is free."""
    found = _narrow(query, graph, domains)
    if found is None:
        return False
    open_ = {term for term, entities in found.items() if len(entities) > 1}
    if not _cyclic(query, open_):
        return True
    links = Counter(term for one in query.links for term in (one.subject, one.object) if term in open_)
    split = min((term for term in open_ if links[term] > 1), key=lambda term: (len(found[term]), term))
    return any(_possible(query, graph, {**found, split: {one}}) for one in sorted(found[split]))
