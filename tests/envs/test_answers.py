"""What counts as the answer, and what people try instead."""

from __future__ import annotations

import pytest

from envfarm.envs.answers import correct
from envfarm.tasks.search.question import AnswerKind


@pytest.mark.parametrize(
    "answer",
    ["Paris", " paris. ", "The Paris", "PARIS!", '"Paris"', "Pa\u200bris", "Ｐａｒｉｓ", "Lutetia"],
)
def test_the_same_words(answer: str) -> None:
    assert correct(answer, ["Paris", "Lutetia"])


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " ",
        "the",
        "Paris, London, Rome",
        "unknown or Paris",
        "Paris (or London)",
        "Paris Lutetia",
        "not Paris",
        "The city that is asked for is Paris",
        "Which city has the tower? Paris",
        "Pаris",
        "Par",
        "P a r i s",
        ", ".join(["Paris"] * 20),
        "Paris" + " " * 400,
    ],
)
def test_anything_else_earns_nothing(answer: str) -> None:
    assert not correct(answer, ["Paris", "Lutetia"])


@pytest.mark.parametrize(
    ("one", "other"), [("C", "C++"), ("C", "C#"), ("1.2", "12"), ("-5", "5"), ("libx11-6", "libx1-16"), ("1,5", "15")]
)
def test_signs_that_tell_names_apart(one: str, other: str) -> None:
    assert not correct(one, [other])
    assert not correct(other, [one])
    assert correct(one, [one])


@pytest.mark.parametrize("name", ["The The", "A", "!!!"])
def test_a_name_of_articles_or_signs(name: str) -> None:
    assert correct(name, [name]) == (name != "!!!")
    assert not correct("", [name])


@pytest.mark.parametrize(
    ("kind", "answer", "expected", "unit", "same"),
    [
        ("number", "1,000", "1000", None, True),
        ("number", "5.0", "5", None, True),
        ("number", "five", "5", None, True),
        ("number", "2 million", "2000000", None, True),
        ("number", "5 or 6", "5", None, False),
        ("number", "about 5", "5", None, False),
        ("number", "9**9**9", "5", None, False),
        ("number", "٥", "5", None, True),
        ("date", "May 1, 2020", "2020-05-01", None, True),
        ("date", "1st of May 2020", "2020-05-01", None, True),
        ("date", "2020", "2020-05-01", None, False),
        ("date", "01/05/2020", "2020-05-01", None, False),
        ("date", "31 February 2020", "2020-02-31", None, False),
        ("date", "Smarch 1, 2020", "2020-01-01", None, False),
        ("quantity", "5 km", "5000 m", None, True),
        ("quantity", "5000 metres", "5", "km", True),
        ("quantity", "5", "5", "km", True),
        ("quantity", "5000", "5", "km", False),
        ("quantity", "5 kg", "5", "km", False),
        ("quantity", "1.5 MB", "1500 kB", None, True),
        ("quantity", "5 Mb", "5 MB", None, False),
        ("quantity", "5 km or 6 km", "5 km", None, False),
    ],
)
def test_values(kind: AnswerKind, answer: str, expected: str, unit: str | None, same: bool) -> None:
    assert correct(answer, [expected], kind=kind, unit=unit) is same


def test_a_huge_number_takes_no_time() -> None:
    assert not correct("9" * 299, ["5"], kind="number")
