"""Puts a query into words: what is looked for first, then a sentence for each thing that leads to it."""

from __future__ import annotations

from envfarm.tasks.search.graph import Graph
from envfarm.tasks.search.query import ANSWER, Link, Query, Value, variable
from envfarm.tasks.search.values import shown

_PHRASES = {  # relation: what its subject does, what its object does; {} is the other
    "depends": ("depends on {}", "is a dependency of {}"),
    "pre-depends": ("pre-depends on {}", "is a pre-dependency of {}"),
    "recommends": ("recommends {}", "is recommended by {}"),
    "suggests": ("suggests {}", "is suggested by {}"),
    "enhances": ("enhances {}", "is enhanced by {}"),
    "conflicts": ("conflicts with {}", "is in conflict with {}"),
    "breaks": ("breaks {}", "is broken by {}"),
    "replaces": ("replaces {}", "is replaced by {}"),
    "provides": ("provides {}", "is provided by {}"),
    "section": ("is in {}", "contains {}"),
    "maintainer": ("is maintained by {}", "maintains {}"),
    "tags": ("is tagged {}", "is a tag of {}"),
    "source": ("is built from the source {}", "is the source of {}"),
}
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
        self._spoken = ANSWER  # what `it` means

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
            subject = self._mention(at)
            known = len(self._reached)
            sentences.append(f"{subject} {self._step(at, link)}.")
            self._spoken = at
            waiting[1:1] = self._reached[known:]
        return " ".join([*sentences, self._asked()])

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
            return _verb(link, at).format(self._that(other))
        return _verb(link, at).format(self._introduced(other) + _that(self._said(other)))

    def _said(self, term: str) -> list[str]:
        """What is said of a term without another variable."""
        said = [_value(one, self._graph) for one in self._query.values if one.of == term]
        for link in list(self._left):
            ends = (link.subject, link.object)
            if term in ends and not all(variable(end) for end in ends):
                self._left.remove(link)
                other = link.object if link.subject == term else link.subject
                said.append(_verb(link, term).format(self._named(other)))
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
        words = f"{_ORDINALS[number]} {noun}".strip() if number < len(_ORDINALS) else f"further {noun}"
        return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"

    def _that(self, term: str) -> str:
        noun = self._noun(term)
        if term == ANSWER:
            return f"the {noun} I am looking for"
        number = self._number[term]
        return f"the {_ORDINALS[number]} {noun}" if number else f"that {noun}"

    def _mention(self, term: str) -> str:
        if term == self._spoken:
            return "It also"
        mention = self._that(term)
        return mention[0].upper() + mention[1:]

    def _asked(self) -> str:
        if self._query.wants:
            return f"What is the {_words(self._query.wants)} of {self._that(ANSWER)}?"
        return "What is it called?" if self._spoken == ANSWER else f"What is {self._that(ANSWER)} called?"


def _verb(link: Link, subject: str) -> str:
    forward, back = _PHRASES.get(
        link.relation.casefold(),
        (f"has {{}} as its {_words(link.relation)}", f"is the {_words(link.relation)} of {{}}"),
    )
    return forward if link.subject == subject else back


def _value(one: Value, graph: Graph) -> str:
    noun = _words(one.relation)
    article = "an" if noun[0] in "aeiou" else "a"
    if one.equals is not None:
        known = _PHRASES.get(one.relation.casefold())
        return known[0].format(one.equals) if known else f"has {article} {noun} of {one.equals}"
    if one.starts is not None:
        return f"has {article} {noun} that starts with the letter {one.starts.upper()}"
    form = graph.forms[one.relation]
    low, high = (shown(end, form) for end in (one.low or 0.0, one.high or 0.0))
    return f"has {article} {noun} between {low} and {high}"


def _words(relation: str) -> str:
    return relation.replace("-", " ").replace("_", " ").lower()


def _that(said: list[str]) -> str:
    if not said:
        return ""
    return " that " + (said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}")
