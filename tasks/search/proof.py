"""What shows that an answer follows: the fact of each constraint, and the words of the corpus that state it."""

from __future__ import annotations

from envfarm.tasks.search.extract import triples
from envfarm.tasks.search.graph import Graph
from envfarm.tasks.search.query import ANSWER, Query, Value, holding
from envfarm.tasks.search.question import Evidence
from envfarm.toolbox.search.corpus import Corpus


def evidence(query: Query, truth: dict[str, str], literal: str, graph: Graph, corpus: Corpus) -> list[Evidence]:
    """The facts of a chain, from the answer outwards. Each is read again from its document."""
    facts = [(truth[ANSWER], query.wants, literal)] if query.wants else []
    for link in query.links:
        facts.append((truth.get(link.subject, link.subject), link.relation, truth.get(link.object, link.object)))
    facts += [_stated(value, truth[value.of], graph) for value in query.values]
    return [_quoted(fact, graph, corpus) for fact in dict.fromkeys(facts)]


def _stated(value: Value, entity: str, graph: Graph) -> tuple[str, str, str]:
    """The literal of an entity for which a constraint holds."""
    for text in graph.values[value.relation][entity]:
        exact = Value(of=value.of, relation=value.relation, equals=text)
        if value.equals == text or (value.equals is None and entity in holding(value, graph) & holding(exact, graph)):
            return entity, value.relation, text
    raise AssertionError(f"{entity} has no such {value.relation}")


def _quoted(fact: tuple[str, str, str], graph: Graph, corpus: Corpus) -> Evidence:
    subject, relation, object = fact
    doc = graph.document(subject, relation, object)
    found = corpus.get(doc)
    spans = [
        one.span
        for one in (triples(found) if found else ())
        if (one.relation, one.object) == (relation, object) and graph.title(one.subject) == graph.title(subject)
    ]
    if not spans:
        raise AssertionError(f"{doc} does not state {fact}")
    return Evidence(doc=doc, span=spans[0], triple=fact)
