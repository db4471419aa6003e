"""Makes tasks of published question sets, answered from a corpus of a set's own documents or from another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from envfarm.tasks.search.published import Published, read
from envfarm.tasks.search.question import Evidence, Question
from envfarm.tasks.search.write import check_new, write
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import Report, build
from envfarm.toolbox.search.corpus import Corpus, Source

_NO_ANSWER = "without an answer"
_NO_DOCUMENTS = "their documents are not in the corpus"


def documents(name: str, paths: Sequence[Path]) -> Iterator[Document]:
    """Every document that comes with a set, once. Raises BadRequest."""
    seen: set[str] = set()
    for one in chain.from_iterable(read(name, path) for path in paths):
        for document in one.documents:
            if document.id not in seen:
                seen.add(document.id)
                yield document


def build_corpus(name: str, paths: Sequence[Path], out: Path, report: Report = lambda stage, done: None) -> None:
    """Make a corpus of a set's own documents. Raises BadRequest (none come with it), CorpusError, StorageError."""
    found = documents(name, paths)
    first = next(found, None)
    if first is None:
        raise BadRequest(f"{name}: no documents come with it; name the corpus that it is to be answered from")
    build([(Source(name=name), chain([first], found))], out, report)


def import_questions(
    name: str, paths: Sequence[Path], corpus: Path, out: Path, n: int | None = None
) -> tuple[list[Path], dict[str, int]]:
    """Write the first `n` questions of a set as task folders; the folders, and how many were left out, by reason.

    Raises BadRequest (a row that is none of the set's, nothing is left), CorpusError, StorageError.
    """
    check_new(out)
    dropped: Counter[str] = Counter()
    with Corpus.open(corpus) as opened:
        # What leads nowhere is most of a set, and is not needed here.
        asked = [replace(one, documents=()) for path in paths for one in read(name, path)]
        titles = _titles(opened, asked)
        questions: list[Question] = []
        for one in asked:
            if n is not None and len(questions) == n:
                break
            made = _question(name, one, opened, titles)
            if isinstance(made, Question):
                questions.append(made)
            else:
                dropped[made] += 1
    if not questions:
        why = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "the files are empty"
        raise BadRequest(f"{name}: no question is left: {why}")
    return write(out, questions), dict(dropped)


def _question(name: str, one: Published, corpus: Corpus, titles: dict[str, str]) -> Question | str:
    """The question, or why it is left out."""
    answers = list(dict.fromkeys(answer.strip() for answer in one.answers if answer.strip()))
    if not answers:
        return _NO_ANSWER
    found = {page.id: _found(page, corpus, titles) for page in one.gold}
    gold = {id: document for id, document in found.items() if document is not None}
    if len(gold) < len(found):
        return _NO_DOCUMENTS
    quoted = [(gold[one.doc], one.span) for one in one.evidence if one.doc in gold]
    return Question(
        question=one.question,
        answer=answers[0],
        aliases=tuple(answers[1:]),
        gold=tuple(dict.fromkeys(document.id for document in gold.values())),
        evidence=tuple(Evidence(doc=document.id, span=span) for document, span in quoted if span in document.text),
        corpus=corpus.version,
        source=f"{name} {one.id}".strip(),
    )


def _found(page: Document, corpus: Corpus, titles: dict[str, str]) -> Document | None:
    """The document as the corpus has it: by its id, else by its url, else by its title."""
    for key in (page.id, page.url, titles.get(page.title.casefold())):
        if key and (document := corpus.get(key)) is not None:
            return document
    return None


def _titles(corpus: Corpus, questions: Sequence[Published]) -> dict[str, str]:
    """The ids of documents by title, of those that are needed and have another id in this corpus."""
    needed = {page.title.casefold() for one in questions for page in one.gold if corpus.get(page.id) is None}
    if not needed:
        return {}
    found: dict[str, str] = {}
    for document in corpus:
        if document.title.casefold() in needed:
            found.setdefault(document.title.casefold(), document.id)
    return found
