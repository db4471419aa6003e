"""The graph of a corpus's facts: links between entities, and the literals that entities have."""

from __future__ import annotations

import bisect
import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from envfarm.tasks.search.extract import Triple, triples
from envfarm.tasks.search.values import Form, measure
from envfarm.toolbox.search.base import Document

SUPPORT = 3  # subjects that a relation needs: what fewer state is no structure but a chance word before a colon
HUB = 60  # neighbours: what has more says too little to be a step of a chain
_SURE = 0.9  # of a relation's literals that have to be numbers, or dates, for it to be one of numbers, or dates
_SAMPLE = 200


class Edge(NamedTuple):
    """A link: a relation between two entities."""

    subject: str
    relation: str
    object: str


class Graph:
    """Facts, found from either end. Everything is in the order of the corpus, so the same corpus is the same graph."""

    def __init__(self) -> None:
        self.titles: dict[str, str] = {}
        self.nouns: dict[str, str] = {}
        self.links: dict[str, dict[str, list[str]]] = {}  # relation, subject, objects
        self.backlinks: dict[str, dict[str, list[str]]] = {}  # relation, object, subjects
        self.values: dict[str, dict[str, list[str]]] = {}  # relation, subject, literals
        self.holders: dict[str, dict[str, list[str]]] = {}  # relation, literal, subjects
        self.forms: dict[str, Form] = {}  # of the literals of a relation
        self.edges: dict[str, list[Edge]] = {}  # all links of an entity
        self.stated: dict[tuple[str, str, str], str] = {}  # facts that another document than the subject's states
        self._starting: dict[tuple[str, str], frozenset[str]] = {}  # asked for again and again, and many
        self._measured: dict[str, list[tuple[float, str]]] = {}

    @classmethod
    def of(cls, documents: Iterable[Document], report: Callable[[int], None] = lambda done: None) -> Graph:
        """Read the facts of documents."""
        graph, found = cls(), list[Triple]()
        with _no_collections():
            for done, one in enumerate(documents, 1):
                graph.titles[one.id] = one.title
                graph.nouns[one.id] = _noun(one)
                found += triples(one)
                if not done % 10_000:
                    report(done)
            graph._add(found)
        return graph

    def title(self, entity: str) -> str:
        """What an entity is called."""
        return self.titles.get(entity) or entity.rpartition("#")[2]

    def noun(self, entity: str) -> str:
        """What an entity is: `package`."""
        return self.nouns.get(entity, "entry")

    def hub(self, entity: str) -> bool:
        """Whether it has too many neighbours to be a step of a chain."""
        return len(self.edges.get(entity, ())) > HUB

    def between(self, relation: str, low: float, high: float) -> list[str]:
        """Whoever has a literal in a range, ends included, in the order of the literals."""
        ordered = self._measured.get(relation, [])
        first = bisect.bisect_left(ordered, (low, ""))
        last = bisect.bisect_right(ordered, (high, "\U0010ffff"))
        return [entity for _, entity in ordered[first:last]]

    def having(self, relation: str, literal: str) -> frozenset[str]:
        """Whoever has a literal."""
        return frozenset(self.holders.get(relation, {}).get(literal, ()))

    def starting(self, relation: str, head: str) -> frozenset[str]:
        """Whoever has a literal that starts so, in whatever case."""
        key = relation, head.casefold()
        if key not in self._starting:
            literals = self.holders.get(relation, {}).items()
            found = (one for text, who in literals if text.casefold().startswith(key[1]) for one in who)
            self._starting[key] = frozenset(found)
        return self._starting[key]

    def document(self, subject: str, relation: str, object: str) -> str:
        """The document that states a fact."""
        return self.stated.get((subject, relation, object), subject)

    def _add(self, found: list[Triple]) -> None:
        names = Counter(title.casefold() for title in self.titles.values())
        by_name = {title.casefold(): id for id, title in self.titles.items() if names[title.casefold()] == 1}
        kinds: dict[str, Counter[bool]] = defaultdict(Counter)
        subjects: dict[str, set[str]] = defaultdict(set)
        for one in found:
            kinds[one.relation][one.linked] += 1
            subjects[one.relation].add(one.subject)
        for one in found:
            count = kinds[one.relation]
            linked = count[True] >= count[False]
            if len(subjects[one.relation]) < SUPPORT or one.linked != linked:
                continue  # of a relation of links, what has no page; of one of literals, a stray link
            if one.linked and one.object not in self.titles:
                continue
            subject = one.subject
            if subject not in self.titles:
                subject = by_name.get(subject.rpartition("#")[2].casefold(), subject)
            self._put(subject, one)
        self._index()

    def _put(self, subject: str, one: Triple) -> None:
        forward, back = (self.links, self.backlinks) if one.linked else (self.values, self.holders)
        objects = forward.setdefault(one.relation, {}).setdefault(subject, [])
        if one.object in objects or one.object == subject:
            return
        objects.append(one.object)
        back.setdefault(one.relation, {}).setdefault(one.object, []).append(subject)
        if one.doc != subject:
            self.stated[subject, one.relation, one.object] = one.doc
        if one.linked:
            edge = Edge(subject, one.relation, one.object)
            self.edges.setdefault(subject, []).append(edge)
            self.edges.setdefault(one.object, []).append(edge)

    def _index(self) -> None:
        for relation, holders in self.holders.items():
            self.forms[relation] = form = _form(list(holders))
            if form != "text":
                places = ((measure(text, form), who) for text, who in holders.items())
                self._measured[relation] = sorted((at, one) for at, who in places if at is not None for one in who)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Millions of small objects without a cycle: to look for one again and again takes longer than all the rest."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _noun(one: Document) -> str:
    """What its metadata or its folder says it is."""
    folder = one.id.partition("/")[0] if "/" in one.id else ""
    noun = one.metadata.get("kind") or folder or "entry"
    return noun if noun.replace(" ", "").isalpha() else "entry"


def _form(texts: list[str]) -> Form:
    some = texts[:: max(1, len(texts) // _SAMPLE)]
    forms: tuple[Form, ...] = ("number", "date")
    for form in forms:
        if sum(measure(text, form) is not None for text in some) >= _SURE * len(some):
            return form
    return "text"
