"""What a finished question has to pass: neither it nor a search for its own words tells the answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from envfarm.toolbox.search.base import Retriever

TOP = 5  # hits of a search for the question itself, in none of which the answer's document may be
_WORD = re.compile(r"\w+")
_SHORT = 4  # letters; a shorter word hints at nothing
_COMMON = 0.003  # share of titles with a word, from which on it hints at nothing


class Hints:
    """Which words tell something: those of few titles."""

    def __init__(self, titles: Iterable[str]) -> None:
        counted: Counter[str] = Counter()
        number = 0
        for title in titles:
            counted.update(set(_WORD.findall(title.casefold())))
            number += 1
        self._common = {word for word, count in counted.items() if count > max(1, number * _COMMON)}

    def tells(self, question: str, answer: str) -> bool:
        """Whether a question holds its answer, or a telling word of it."""
        if says(question, answer):
            return True
        words = {word for word in _WORD.findall(answer.casefold()) if len(word) >= _SHORT} - self._common
        return not words.isdisjoint(_WORD.findall(question.casefold()))


def says(question: str, answer: str) -> bool:
    """Whether the answer stands in the question, in whatever case and between whatever marks."""
    asked, wanted = (f" {' '.join(_WORD.findall(text.casefold()))} " for text in (question, answer))
    return wanted in asked


async def found_by_its_words(retriever: Retriever, question: str, document: str) -> bool:
    """Whether the answer's document is among the first hits of a search for the question itself."""
    return any(hit.id == document for hit in await retriever.search(question, TOP))
