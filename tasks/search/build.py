"""Makes questions of a corpus, each a task folder. The same corpus, numbers and seed make the same questions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from envfarm.tasks.search.difficulty import difficulty
from envfarm.tasks.search.draft import Drafted, draft
from envfarm.tasks.search.filters import Hints, found_by_its_words
from envfarm.tasks.search.graph import Graph
from envfarm.tasks.search.phrase import phrase
from envfarm.tasks.search.proof import evidence
from envfarm.tasks.search.query import ANSWER
from envfarm.tasks.search.question import AnswerKind, Question
from envfarm.tasks.search.write import check_new, write
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.search.base import Retriever
from envfarm.toolbox.search.corpus import Corpus
from envfarm.toolbox.search.errors import CorpusError
from envfarm.toolbox.search.index import open_index

_TRIES = 400  # seeds for each question; a corpus in which none of so many gives one has none of that depth
DEEPEST = 9
Report = Callable[[str, int], None]
"""Hears what is done, and how much of it so far."""


def build_questions(
    corpus: Path,
    n: int,
    depths: Sequence[int],
    seed: int,
    out: Path,
    report: Report = lambda stage, done: None,
) -> list[Path]:
    """Write `n` questions, their depths in turn, and `questions.jsonl` beside them; the folders that were written.

    Blocks, and runs an event loop of its own: call it in a thread where one runs. Raises BadRequest (a depth, a folder
    that is not empty), CorpusError (no question of a depth), StorageError (the disk).
    """
    if n < 1:
        raise BadRequest(f"n: {n}: ask for at least one question")
    if not depths or not all(1 <= deep <= DEEPEST for deep in depths):
        raise BadRequest(f"depth: {list(depths)}: write depths from 1 to {DEEPEST}")
    check_new(out)  # before the minutes that it takes
    index = open_index(Corpus.open(corpus))
    try:
        graph = Graph.of(index.corpus, lambda done: report("read", done))
        questions = [*_numbered(synthesise(index.corpus, graph, index, n, depths, seed), report)]
    finally:
        asyncio.run(index.close())
    return write(out, questions)


def synthesise(
    corpus: Corpus, graph: Graph, retriever: Retriever, n: int, depths: Sequence[int], seed: int
) -> Iterator[Question]:
    """The questions one after the other. Raises CorpusError where the corpus has none of a depth."""
    starts = [entity for entity in graph.titles if entity in graph.edges and not graph.hub(entity)]
    if not starts:
        raise CorpusError(
            f"{corpus.place}: no facts that link its documents: questions need `Key: value` lines, definition lists, "
            "info boxes or tables with links (docs/questions.md)"
        )
    hints = Hints(graph.titles.values())
    asked: set[str] = set()
    with asyncio.Runner() as loop:
        for number in range(n):
            deep = depths[number % len(depths)]
            for turn in range(_TRIES):
                name = f"{seed}/{number}/{turn}"
                rng = random.Random(name)
                made = draft(graph, rng.choice(starts), deep, rng)
                question = _question(made, name, corpus, graph) if made else None
                if question is None or made is None or made.way[0] in asked or _tells(question, hints):
                    continue
                if loop.run(found_by_its_words(retriever, question.question, made.way[0])):
                    continue
                asked.add(made.way[0])
                yield question
                break
            else:
                raise CorpusError(
                    f"{corpus.place}: found no question of depth {deep} in {_TRIES} tries; "
                    "ask for a smaller depth, or for fewer"
                )


def _numbered(questions: Iterator[Question], report: Report) -> Iterator[Question]:
    for done, question in enumerate(questions, 1):
        report("made", done)
        yield question


def _tells(question: Question, hints: Hints) -> bool:
    return any(hints.tells(question.question, one) for one in (question.answer, *question.aliases))


def _question(made: Drafted, name: str, corpus: Corpus, graph: Graph) -> Question:
    query, truth = made.draft.query, made.draft.truth
    shown = evidence(query, truth, made.literal, graph, corpus)
    docs = dict.fromkeys([one.doc for one in shown])
    first = truth[ANSWER]
    answer = made.literal if query.wants else graph.title(first)
    return Question(
        question=phrase(query, truth, graph),
        answer=answer,
        aliases=() if query.wants else _aliases(graph, first),
        kind=_kind(query.wants, graph),
        gold=(*([first] if first in docs else []), *(doc for doc in docs if doc != first)),
        evidence=tuple(shown),
        query=query.model_dump(exclude_none=True, exclude_defaults=True),
        difficulty=difficulty(made.draft, made.way, len(docs), graph),
        corpus=corpus.version,
        seed=name,
    )


def _kind(wants: str, graph: Graph) -> AnswerKind:
    return graph.forms.get(wants, "text")


def _aliases(graph: Graph, entity: str) -> tuple[str, ...]:
    """Its id, where that reads as a name: its title with another case, or without what tells it from its namesakes."""
    title = graph.title(entity)
    plain = title.partition(" (")[0]
    return (plain,) if plain and plain != title else ()
