"""The words of a single fact: what a relation's subject does, and its object; what a literal says of an entity."""

from __future__ import annotations

from envfarm.tasks.search.graph import Graph
from envfarm.tasks.search.query import Link, Value
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
    "tag": ("is tagged {}", "is a tag of {}"),
    "source": ("is built from the source {}", "is the source of {}"),
}
_PREPOSITIONS = {"in", "of", "by", "at", "on", "for", "from", "to", "with", "under"}
_PARTICIPLES = {"born", "built", "written", "known", "begun", "made"}  # beside those that end in -ed
_AS_VOWELS = ("hour", "honour", "honor", "heir", "honest")
_AS_CONSONANTS = (
    "unic",
    "unif",
    "unio",
    "uniq",
    "unit",
    "univ",
    "usa",
    "use",
    "usu",
    "uti",
    "eu",
    "once",
    "one",
    "ura",
)
_UNCHANGED = {"species", "series", "news", "means", "headquarters"}


def verb(link: Link, subject: str) -> str:
    """What the subject does, with `{}` for the other end."""
    known = _PHRASES.get(link.relation.casefold())
    if known is None:
        noun = _literal(words(link.relation))
        if _prepositional(noun):
            known = f"is {noun} {{}}", f"is what {{}} is {noun}"
        elif singular(noun) != noun:
            known = f"has {{}} among its {noun}", f"is among the {noun} of {{}}"
        else:
            known = f"has {{}} as its {noun}", f"is the {noun} of {{}}"
    forward, back = known
    return forward if link.subject == subject else back


def said_of(one: Value, graph: Graph) -> str:
    """What is said of an entity with such a literal."""
    noun = words(one.relation)
    known = _PHRASES.get(one.relation.casefold())
    if one.equals is not None:
        if known:
            return known[0].format(one.equals)
        if graph.forms[one.relation] == "text":
            return verb(Link(subject="", relation=one.relation, object="?"), "").format(one.equals)
        return _measured(noun, one.equals, f"of {one.equals}")
    if one.starts is not None:
        if known and not known[0].startswith("is "):
            return known[0].format(f"something that starts with the letter {one.starts.upper()}")
        return f"has {a(singular(noun))} that starts with the letter {one.starts.upper()}"
    form = graph.forms[one.relation]
    between = f"between {shown(one.low or 0.0, form)} and {shown(one.high or 0.0, form)}"
    return _measured(noun, between, between)


def _measured(noun: str, counted: str, said: str) -> str:
    """A number or a date of something: `has between 5 and 9 inhabitants`, `has an area between 5 and 9`."""
    if _prepositional(noun) or noun.rpartition(" ")[2] in _PARTICIPLES or noun.endswith("ed"):
        return f"is {noun} {counted}"
    return f"has {counted} {noun}" if singular(noun) != noun else f"has {a(noun)} {said}"


def words(relation: str) -> str:
    """A relation as it stands in a sentence."""
    return relation.replace("-", " ").replace("_", " ").lower()


def _literal(text: str) -> str:
    """A text as it stands in a template."""
    return text.replace("{", "{{").replace("}", "}}")


def singular(noun: str) -> str:
    """One of several, by the rules for most English nouns."""
    head, _, last = noun.rpartition(" ")
    if last in _UNCHANGED or len(last) < 4 or not last.endswith("s") or last.endswith(("ss", "us", "is")):
        return noun
    if last.endswith("ies"):
        return f"{head} {last[:-3]}y".strip()
    return f"{head} {last[: -2 if last.endswith(('ches', 'shes', 'xes')) else -1]}".strip()


def a(noun: str) -> str:
    """A noun with its article."""
    vowel = noun.startswith(_AS_VOWELS) or (noun[:1] in "aeiou" and not noun.startswith(_AS_CONSONANTS))
    return f"{'an' if vowel else 'a'} {noun}"


def _prepositional(noun: str) -> bool:
    return " " in noun and noun.rpartition(" ")[2] in _PREPOSITIONS
