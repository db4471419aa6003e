"""Grows a piece of the graph around a seed, and takes from it the chain that a question follows."""

from __future__ import annotations

import random

from envfarm.tasks.search.graph import Edge, Graph

_NEWEST = 0.6  # how often the newest entity is expanded; else an older one, which makes branches and cycles


def expand(graph: Graph, seed: str, edges: int, rng: random.Random) -> list[Edge]:
    """Links found by going from entity to entity, hubs left out: so many at most, cycles kept, in the order found."""
    found: dict[Edge, None] = {}
    frontier = [seed]
    for _ in range(edges * 3):
        if len(found) >= edges:
            break
        at = frontier[-1] if rng.random() < _NEWEST else rng.choice(frontier)
        ways = [one for one in graph.edges.get(at, ()) if one not in found and not graph.hub(_other(one, at))]
        if not ways:
            continue
        taken = rng.choice(ways)
        found[taken] = None
        if _other(taken, at) not in frontier:
            frontier.append(_other(taken, at))
    return list(found)


def chain(edges: list[Edge], depth: int, rng: random.Random) -> list[tuple[str, Edge]] | None:
    """A shortest way of so many links between two entities of a piece: each link with the entity that it comes from."""
    around: dict[str, list[Edge]] = {}
    for one in edges:
        around.setdefault(one.subject, []).append(one)
        around.setdefault(one.object, []).append(one)
    starts = list(around)
    rng.shuffle(starts)
    for start in starts:
        ways: dict[str, list[tuple[str, Edge]]] = {start: []}
        newest = [start]
        for _ in range(depth):
            reached = []
            for at in newest:
                for one in around[at]:
                    there = _other(one, at)
                    if there not in ways:
                        ways[there] = [*ways[at], (at, one)]
                        reached.append(there)
            newest = reached
        if newest:
            return ways[rng.choice(newest)]
    return None


def _other(edge: Edge, end: str) -> str:
    return edge.object if edge.subject == end else edge.subject
