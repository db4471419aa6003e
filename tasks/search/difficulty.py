"""How hard a question is, in parts that anyone can count again."""

from __future__ import annotations

from itertools import pairwise

from envfarm.tasks.search.graph import Graph
from envfarm.tasks.search.obscure import Draft
from envfarm.tasks.search.query import depth


def difficulty(draft: Draft, way: list[str], documents: int, graph: Graph) -> dict[str, float]:
    """`total` = depth + 0.5 branches + bits + 0.5 documents - shortcuts.

    depth: links to the farthest term; branches: constraints beside the chain; bits: what was blurred, summed over the
    rungs; documents: those that the answer needs; shortcuts: links of the graph that leave out a step of the way.
    """
    deep = depth(draft.query)
    neighbours = {frozenset(pair) for pair in pairwise(way)}
    shortcuts = sum(
        1
        for first, one in enumerate(way)
        for other in way[first + 2 :]
        if frozenset((one, other)) not in neighbours and any(other in (e.subject, e.object) for e in graph.edges[one])
    )
    parts = {
        "depth": float(deep),
        "branches": float(len(draft.query.atoms) - deep),
        "bits": round(sum(rung.bits for rung in draft.rungs), 3),
        "documents": float(documents),
        "shortcuts": float(shortcuts),
    }
    total = parts["depth"] + 0.5 * parts["branches"] + parts["bits"] + 0.5 * parts["documents"] - parts["shortcuts"]
    return {"total": round(total, 3), **parts}
