"""Facts read as plain English, whatever a corpus calls its relations."""

from __future__ import annotations

import pytest

from envfarm.tasks.search.graph import Graph
from envfarm.tasks.search.query import Link, Value
from envfarm.tasks.search.wording import a, said_of, singular, verb


@pytest.mark.parametrize(
    ("relation", "forward", "back"),
    [
        ("Depends", "depends on {}", "is a dependency of {}"),
        ("Twin town", "has {} as its twin town", "is the twin town of {}"),
        ("Members", "has {} among its members", "is among the members of {}"),
        ("Located in", "is located in {}", "is what {} is located in"),
        ("Shape {}", "has {} as its shape {{}}", "is the shape {{}} of {}"),
    ],
)
def test_links(relation: str, forward: str, back: str) -> None:
    link = Link(subject="a", relation=relation, object="b")
    assert (verb(link, "a"), verb(link, "b")) == (forward, back)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"relation": "Tags", "starts": "d"}, "has a tag that starts with the letter D"),
        ({"relation": "Provides", "starts": "w"}, "provides something that starts with the letter W"),
        ({"relation": "Inhabitants", "low": 500, "high": 1500}, "has between 500 and 1,500 inhabitants"),
        ({"relation": "Inhabitants", "equals": "500"}, "has 500 inhabitants"),
        ({"relation": "Installed size", "low": 60, "high": 120}, "has an installed size between 60 and 120"),
        ({"relation": "Founded", "low": 1000, "high": 1100}, "is founded between 1,000 and 1,100"),
        ({"relation": "Market", "equals": "Monday"}, "has Monday as its market"),
        ({"relation": "Colours", "equals": "red"}, "has red among its colours"),
    ],
)
def test_literals(value: dict[str, object], text: str) -> None:
    graph = Graph()
    graph.forms = {"Inhabitants": "number", "Installed size": "number", "Founded": "number"}
    graph.forms |= {"Market": "text", "Colours": "text", "Tags": "text", "Provides": "text"}
    assert said_of(Value.model_validate({"of": "?a", **value}), graph) == text


@pytest.mark.parametrize(
    ("many", "one"),
    [("tags", "tag"), ("native languages", "native language"), ("cities", "city"), ("branches", "branch"),
     ("species", "species"), ("status", "status"), ("address", "address"), ("axis", "axis"), ("bus", "bus")],
)  # fmt: skip
def test_one_of_several(many: str, one: str) -> None:
    assert singular(many) == one


@pytest.mark.parametrize(
    "text", ["an hour", "a university", "an uninhabited area", "an eye", "a use", "a town", "a euro"]
)
def test_articles_go_by_the_sound(text: str) -> None:
    assert a(text.partition(" ")[2]) == text
