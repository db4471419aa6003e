"""From a seed in the graph to a formal query with one answer, none of whose constraints can be left out."""

from __future__ import annotations

import random
from dataclasses import dataclass

from envfarm.tasks.search.expand import chain, expand
from envfarm.tasks.search.graph import Edge, Graph
from envfarm.tasks.search.obscure import Draft, describing, minimal, needed, obscure
from envfarm.tasks.search.query import ANSWER, Atom, Link, Query, Value, depth, names, unique

_SIDE = 3  # constraints beside the chain, at most: more read like a form
_LITERAL = 0.25  # how often a literal of the entity is asked for, not its name
_VARIED = 30  # literals that a relation needs to be asked for: one of few can be guessed
_MOST = 5000  # entities that a step of a chain may mean: from more no few constraints make one


@dataclass(slots=True)
class Drafted:
    """A draft, the entities of its chain from the answer on, and what its `wants` is."""

    draft: Draft
    way: list[str]
    literal: str


def draft(graph: Graph, seed: str, deep: int, rng: random.Random) -> Drafted | None:
    """A query of a depth around a seed, blurred; None where the seed has none."""
    piece = expand(graph, seed, 3 * deep + 4, rng)
    steps = chain(piece, deep, rng)
    if steps is None:
        return None
    way = _way(steps)
    if graph.titles.get(way[0], "") == "" or _direct(graph, way) or _wide(graph, steps):
        return None
    truth = {ANSWER: way[0]} | {f"?x{at}": entity for at, entity in enumerate(way[1:-1], 1)}
    made = _unique(graph, _chained(steps, truth), truth, piece, rng)
    if made is None or depth(made) != deep:
        return None
    made, literal = _wanting(graph, made, way[0], rng)
    blurred = obscure(Draft(made, truth), graph, rng.randint(1, 2 + deep // 2), deep, rng)
    if not blurred.rungs or depth(blurred.query) != deep or not needed(blurred.query, graph):
        return None
    return Drafted(blurred, way, literal)


def _way(steps: list[tuple[str, Edge]]) -> list[str]:
    last, edge = steps[-1]
    return [*(at for at, _ in steps), edge.object if edge.subject == last else edge.subject]


def _direct(graph: Graph, way: list[str]) -> bool:
    """Whether the answer is a neighbour of what the question names."""
    return len(way) > 2 and any(way[-1] in (one.subject, one.object) for one in graph.edges[way[0]])


def _wide(graph: Graph, steps: list[tuple[str, Edge]]) -> bool:
    """Whether the chain, followed from what the question names, leads to too many entities somewhere."""
    reached = {_way(steps)[-1]}
    for at, edge in reversed(steps):
        ways = (graph.backlinks if edge.subject == at else graph.links)[edge.relation]
        reached = {there for one in reached for there in ways.get(one, ())}
        if len(reached) >= _MOST:
            return True
    return False


def _term(entity: str, truth: dict[str, str]) -> str:
    return next((name for name, one in truth.items() if one == entity), entity)


def _link(edge: Edge, truth: dict[str, str]) -> Link:
    return Link(subject=_term(edge.subject, truth), relation=edge.relation, object=_term(edge.object, truth))


def _chained(steps: list[tuple[str, Edge]], truth: dict[str, str]) -> Query:
    return Query(links=tuple(_link(edge, truth) for _, edge in steps))


def _unique(graph: Graph, query: Query, truth: dict[str, str], piece: list[Edge], rng: random.Random) -> Query | None:
    """The query with as few further constraints as leave one answer, and each of them needed."""
    left = len(names(query, graph))
    side = _side(graph, query, truth, piece)
    rng.shuffle(side)
    added = 0
    for atom in side:
        if left == 1 or added == _SIDE:
            break
        more = _with(query, atom)
        fewer = len(names(more, graph))
        if 0 < fewer < left:
            query, left, added = more, fewer, added + 1
    return minimal(query, graph) if unique(query, graph) else None


def _side(graph: Graph, query: Query, truth: dict[str, str], piece: list[Edge]) -> list[Atom]:
    """What can be said of the chain's entities, and the links of the piece that close a ring between them."""
    known = set(truth.values())
    rings: list[Atom] = [_link(one, truth) for one in piece if one.subject in known and one.object in known]
    found = [one for one in rings if one not in query.links]
    for name, entity in truth.items():
        for one in describing(graph, entity):
            if isinstance(one, Value):
                found.append(one.model_copy(update={"of": name}))
            else:
                found.append(Link(subject=name, relation=one.relation, object=one.object))
    return found


def _with(query: Query, atom: Atom) -> Query:
    if isinstance(atom, Link):
        return query.model_copy(update={"links": (*query.links, atom)})
    return query.model_copy(update={"values": (*query.values, atom)})


def _wanting(graph: Graph, query: Query, entity: str, rng: random.Random) -> tuple[Query, str]:
    """Sometimes the question goes one step on, to a literal of the entity that it has once, and few others have."""
    used = {one.relation for one in query.values if one.of == ANSWER}
    known = [
        (relation, subjects[entity][0])
        for relation, subjects in graph.values.items()
        if relation not in used
        and len(graph.holders[relation]) >= _VARIED
        and len(subjects.get(entity, ())) == 1
        and len(graph.holders[relation][subjects[entity][0]]) <= max(2, len(subjects) // 1000)
    ]
    if not known or rng.random() >= _LITERAL:
        return query, ""
    relation, literal = rng.choice(known)
    wanting = query.model_copy(update={"wants": relation})
    return (wanting, literal) if unique(wanting, graph) else (query, "")
