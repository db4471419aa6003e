"""A question's formal query: a conjunction over variables, and its answers in the whole graph.

Two variables may stand for the same entity. People read `a second package` as another one, which can only take answers
away: what is proved unique here is unique as people read it.
"""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict

from envfarm.tasks.search.graph import Graph

ANSWER = "?a"
Domains = dict[str, set[str]]


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


def holding(value: Value, graph: Graph) -> set[str]:
    """The entities for which a constraint on a literal holds."""
    holders = graph.holders.get(value.relation, {})
    if value.equals is not None:
        return set(holders.get(value.equals, ()))
    if value.starts is not None:
        head = value.starts.casefold()
        return {one for text, who in holders.items() if text.casefold().startswith(head) for one in who}
    low = float("-inf") if value.low is None else value.low
    high = float("inf") if value.high is None else value.high
    return set(graph.between(value.relation, low, high))


def answers(query: Query, graph: Graph) -> set[str]:
    """Every entity that can be the answer, exactly."""
    start: Domains = {}
    for value in query.values:
        found = holding(value, graph)
        start[value.of] = start[value.of] & found if value.of in start else found
    for one in query.links:
        start.update({term: {term} for term in (one.subject, one.object) if not variable(term)})
    domains = _narrow(query, graph, start)
    if domains is None or ANSWER not in domains:
        return set()
    if not _cyclic(query, set(domains)):
        return domains[ANSWER]
    return {one for one in domains[ANSWER] if _possible(query, graph, {**domains, ANSWER: {one}})}


def names(query: Query, graph: Graph) -> set[str]:
    """What the answers are called; entities of one name count as one."""
    return {graph.title(one).casefold() for one in answers(query, graph)}


def unique(query: Query, graph: Graph) -> bool:
    """Whether there is exactly one answer in the whole graph."""
    found = answers(query, graph)
    if query.wants:
        return len(found) == 1 and all(len(graph.values.get(query.wants, {}).get(one, ())) == 1 for one in found)
    return len({graph.title(one).casefold() for one in found}) == 1


def _narrow(query: Query, graph: Graph, domains: Domains) -> Domains | None:
    """Take away what no link allows, until nothing changes; None where nothing is left. Exact without a cycle."""
    domains = dict(domains)
    changed = True
    while changed:
        changed = False
        ready = [one for one in query.links if one.subject in domains or one.object in domains]
        for one in ready or query.links[:1]:
            before = _sizes(one, domains)
            if one.subject not in domains and one.object not in domains:
                domains[one.subject] = set(graph.links.get(one.relation, ()))
            _revise(domains, one.subject, one.object, graph.links.get(one.relation, {}), graph.backlinks[one.relation])
            _revise(domains, one.object, one.subject, graph.backlinks[one.relation], graph.links[one.relation])
            changed |= _sizes(one, domains) != before
    return domains if all(domains.values()) else None


def _revise(domains: Domains, known: str, other: str, ways: dict[str, list[str]], back: dict[str, list[str]]) -> None:
    if known not in domains:
        return
    sources, targets = domains[known], domains.get(other)
    if targets is not None and len(targets) <= len(sources):
        domains[other] = {one for one in targets if not sources.isdisjoint(back.get(one, ()))}
        return
    reached = {there for one in sources for there in ways.get(one, ())}
    domains[other] = reached if targets is None else targets & reached


def _sizes(one: Link, domains: Domains) -> tuple[int, int]:
    return len(domains.get(one.subject, " ")), len(domains.get(one.object, " "))


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
