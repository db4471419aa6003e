"""Says less and less about what a question names, as long as it has one answer: each rung of the ladder is proved.

exact → range (a number, a date) or first letter (words)
exact (an entity) → what it is like → a relative clause about a neighbour of it
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from envfarm.tasks.search.graph import Graph
from envfarm.tasks.search.query import ANSWER, Atom, Link, Query, Value, answers, distances, holding, unique
from envfarm.tasks.search.query import variable as is_variable
from envfarm.tasks.search.values import around, measure

_SHARES = (0.1, 0.3)  # of a number, to either side
_FEWEST = 5  # entities that a literal has to be true of, to describe one of them and not to name it


@dataclass(frozen=True, slots=True)
class Rung:
    """One thing that was blurred: how many entities it could mean before and after."""

    kind: str  # range, initial, description, clause
    before: int
    after: int

    @property
    def bits(self) -> float:
        """What is no longer said."""
        return math.log2(self.after / self.before)


@dataclass(slots=True)
class Draft:
    """A query, what each of its variables stands for in the chain it was made of, and its rungs."""

    query: Query
    truth: dict[str, str]
    rungs: list[Rung] = field(default_factory=list)


def obscure(draft: Draft, graph: Graph, rungs: int, deepest: int, rng: random.Random) -> Draft:
    """Blur up to so many things; a rung is kept only if the answer is still the only one."""
    while len(draft.rungs) < rungs:
        higher = next((one for one in _shuffled(_rungs(draft, graph, deepest, rng), rng) if _holds(one, graph)), None)
        if higher is None:
            return draft
        draft = higher
    return draft


def needed(query: Query, graph: Graph) -> bool:
    """Whether each constraint is needed: without it there is another answer."""
    return all(not unique(query.without(one), graph) for one in query.atoms)


def minimal(query: Query, graph: Graph) -> Query:
    """Without the constraints that are not needed, so that no shorter way leads to the answer."""
    for atom in reversed(query.atoms):
        less = query.without(atom)
        if atom in query.atoms and less.atoms and unique(less, graph):
            query = less
    return query


def _holds(draft: Draft, graph: Graph) -> bool:
    return draft.rungs[-1].bits > 0 and unique(draft.query, graph) and needed(draft.query, graph)


def _shuffled(found: Iterator[Draft], rng: random.Random) -> list[Draft]:
    listed = list(found)
    rng.shuffle(listed)
    return listed


def _rungs(draft: Draft, graph: Graph, deepest: int, rng: random.Random) -> Iterator[Draft]:
    for value in draft.query.values:
        if value.starts is None:
            yield from _wider(draft, graph, value)
    far = distances(draft.query.links)
    constants = {term for one in draft.query.links for term in (one.subject, one.object) if not is_variable(term)}
    for constant in sorted(constants):
        described = _description(graph, constant, rng)
        if described:
            yield _replaced(draft, graph, constant, described, "description")
        if far.get(constant, deepest) < deepest:
            clause = _clause(draft, graph, constant, rng)
            if clause:
                yield _replaced(draft, graph, constant, [clause], "clause")


def _wider(draft: Draft, graph: Graph, value: Value) -> Iterator[Draft]:
    form = graph.forms[value.relation]
    entity = draft.truth[value.of]
    wider: list[tuple[str, Value]] = []
    if form == "text":
        if value.equals and value.equals[0].isalpha():
            wider.append(("initial", Value(of=value.of, relation=value.relation, starts=value.equals[0])))
    else:
        at = measure(graph.values[value.relation][entity][0], form)
        for share in _SHARES if at is not None else ():
            low, high = around(at or 0.0, form, share)
            wider.append(("range", Value(of=value.of, relation=value.relation, low=low, high=high)))
    before = len(holding(value, graph))
    for kind, one in wider:
        values = tuple(one if old == value else old for old in draft.query.values)
        rung = Rung(kind, before, len(holding(one, graph)))
        yield Draft(draft.query.model_copy(update={"values": values}), draft.truth, [*draft.rungs, rung])


def describing(graph: Graph, entity: str) -> list[Atom]:
    """What can be said of an entity without naming it: literals that several have, hubs that it is linked with."""
    found: list[Atom] = []
    for relation, subjects in graph.values.items():
        literals = subjects.get(entity, [])
        found += [
            Value(of=ANSWER, relation=relation, equals=text)
            for text in literals
            if _FEWEST <= len(graph.holders[relation][text]) < len(subjects) / 2
        ]
    for edge in graph.edges.get(entity, ()):
        if edge.subject == entity and graph.hub(edge.object):
            found.append(Link(subject=ANSWER, relation=edge.relation, object=edge.object))
    return found


def _description(graph: Graph, entity: str, rng: random.Random) -> list[Atom]:
    known = describing(graph, entity)
    return rng.sample(known, min(2, len(known)))


def _clause(draft: Draft, graph: Graph, entity: str, rng: random.Random) -> Link | None:
    used = {*draft.truth.values(), *(term for one in draft.query.links for term in (one.subject, one.object))}
    ways = [
        edge
        for edge in graph.edges.get(entity, ())[:500]
        if not {edge.subject, edge.object} - {entity} & used
        and not graph.hub(_neighbour(edge.subject, edge.object, entity))
    ]
    if not ways:
        return None
    edge = rng.choice(ways)
    return Link(
        subject=ANSWER if edge.subject == entity else edge.subject,
        relation=edge.relation,
        object=ANSWER if edge.object == entity else edge.object,
    )


def _neighbour(subject: str, object: str, entity: str) -> str:
    return object if subject == entity else subject


def _replaced(draft: Draft, graph: Graph, constant: str, said: list[Atom], kind: str) -> Draft:
    """The draft with a fresh variable for a constant, of which that is said."""
    fresh = f"?x{len(draft.truth)}"
    links = tuple(_renamed(one, constant, fresh) for one in draft.query.links)
    alone = Query(
        links=tuple(one for one in said if isinstance(one, Link)),
        values=tuple(one for one in said if isinstance(one, Value)),
    )
    query = Query(
        links=links + tuple(_renamed(one, ANSWER, fresh) for one in alone.links),
        values=draft.query.values + tuple(one.model_copy(update={"of": fresh}) for one in alone.values),
        wants=draft.query.wants,
    )
    rung = Rung(kind, 1, max(1, len(answers(alone, graph))))
    return Draft(query, {**draft.truth, fresh: constant}, [*draft.rungs, rung])


def _renamed(one: Link, old: str, new: str) -> Link:
    return Link(
        subject=new if one.subject == old else one.subject,
        relation=one.relation,
        object=new if one.object == old else one.object,
    )
