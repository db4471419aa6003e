"""How a question is answered by who knows its evidence, and by who guesses: tool calls, as a model would make them."""

from __future__ import annotations

from typing import Any

from envfarm.tasks.search.question import Question

Made = tuple[str, dict[str, Any]]
"""A tool's name and its arguments."""

_PATTERN = 60  # characters of a span that are looked for


def chain(question: Question) -> list[Made]:
    """Search for each document of the evidence, open it, find what it says; then answer."""
    made: list[Made] = []
    for one in question.evidence:
        made += [
            ("search", {"query": one.span[:_PATTERN]}),
            ("open", {"id": one.doc}),
            ("find", {"pattern": one.span.splitlines()[0][:_PATTERN]}),
        ]
    return [*made, ("finish", {"answer": question.answer})]


def guess(question: Question) -> list[Made]:
    """Search for the question's own words, and answer with something else that its evidence names."""
    named = [name for one in question.evidence if one.triple for name in (one.triple[0], one.triple[2])]
    right = {question.answer, *question.aliases}
    wrong = next((name for name in named if name not in right), "unknown")
    return [("search", {"query": question.question[:400]}), ("finish", {"answer": wrong})]
