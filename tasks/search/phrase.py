"""Puts a query into words: what is looked for first, then a sentence for each thing that leads to it."""

from __future__ import annotations

from envfarm.tasks.search.graph import Graph
from envfarm.tasks.search.query import ANSWER, Link, Query, variable
from envfarm.tasks.search.wording import a, said_of, singular, verb, words

_NAMES = {"maintainer", "person", "people", "author"}  # nouns that are not put before a name
_ORDINALS = ("", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def phrase(query: Query, truth: dict[str, str], graph: Graph) -> str:
    """The question in English. `truth` gives the nouns of its variables, not their names."""
    return _Writer(query, truth, graph).write()


class _Writer:
    def __init__(self, query: Query, truth: dict[str, str], graph: Graph) -> None:
        self._query, self._truth, self._graph = query, truth, graph
        self._number: dict[str, int] = {}  # of a variable among those with its noun
        self._left = list(query.links)
        self._spoken = {ANSWER}  # of what a sentence was said

    def write(self) -> str:
        opening = self._introduced(ANSWER)
        said = self._said(ANSWER)
        first = None if said else self._next(ANSWER)
        if first is not None:
            said = [self._step(ANSWER, first)]
        sentences = [f"I am looking for {opening}{_that(said)}."]
        waiting = [ANSWER] if first is None else [self._reached[-1], ANSWER]
        while waiting:
            at = waiting[0]
            link = self._next(at)
            if link is None:
                waiting.pop(0)
                continue
            known = len(self._reached)
            sentences.append(self._sentence(at, link))
            waiting[1:1] = self._reached[known:]
        return " ".join([*sentences, self._asked(alone=len(sentences) == 1)])

    def _sentence(self, at: str, link: Link) -> str:
        """A link, said of a term that is known; `it` could be the one that was mentioned last."""
        mention = self._that(at)
        does = self._step(at, link)
        if at in self._spoken:
            does = f"is also {does[3:]}" if does.startswith("is ") else f"also {does}"
        self._spoken.add(at)
        return f"{mention[0].upper()}{mention[1:]} {does}."

    @property
    def _reached(self) -> list[str]:
        return list(self._number)

    def _next(self, term: str) -> Link | None:
        return next((one for one in self._left if term in (one.subject, one.object)), None)

    def _step(self, at: str, link: Link) -> str:
        """What a term does with another variable, and everything that is said of a new one."""
        self._left.remove(link)
        other = link.object if link.subject == at else link.subject
        if other in self._number:
            return verb(link, at).format(self._that(other))
        return verb(link, at).format(self._introduced(other) + _that(self._said(other)))

    def _said(self, term: str) -> list[str]:
        """What is said of a term without another variable."""
        said = [said_of(one, self._graph) for one in self._query.values if one.of == term]
        for link in list(self._left):
            ends = (link.subject, link.object)
            if term in ends and not all(variable(end) for end in ends):
                self._left.remove(link)
                other = link.object if link.subject == term else link.subject
                said.append(verb(link, term).format(self._named(other)))
        return said

    def _noun(self, term: str) -> str:
        return self._graph.noun(self._truth.get(term, term))

    def _named(self, entity: str) -> str:
        noun, title = self._graph.noun(entity), self._graph.title(entity)
        return title if noun in _NAMES or noun == "entry" else f"the {noun} {title}"

    def _introduced(self, term: str) -> str:
        """A term that is mentioned for the first time: `a package`, `a second package`."""
        noun = self._noun(term)
        self._number[term] = number = sum(self._noun(one) == noun for one in self._number)
        called = f"{_ORDINALS[number]} {noun}".strip() if number < len(_ORDINALS) else f"further {noun}"
        return a(called)

    def _that(self, term: str) -> str:
        noun = self._noun(term)
        if term == ANSWER:
            return f"the {noun} I am looking for"
        number = self._number[term]
        return f"the {_ORDINALS[number]} {noun}" if number else f"that {noun}"

    def _asked(self, *, alone: bool) -> str:
        who = "it" if alone else self._that(ANSWER)
        if self._query.wants:
            return f"What is the {singular(words(self._query.wants))} of {self._that(ANSWER)}?"
        return f"What is {who} called?"


def _that(said: list[str]) -> str:
    if not said:
        return ""
    return " that " + (said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}")
