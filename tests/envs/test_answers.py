"""What counts as the expected answer, and what an answer cannot gain by being clever."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envfarm.envs.answers import LONGEST, correct, normal
from envfarm.tasks.search.question import Question


def question(answer: str, **more: Any) -> Question:
    return Question(question="Which one?", answer=answer, corpus="sha256:0", **more)


TOWN = question("The Hague", aliases=["Den Haag", "'s-Gravenhage"])
COUNT = question("1,234.5", kind="number")
BELOW = question("-5", kind="number")
DAY = question("1999-03-04", kind="date")
YEAR = question("1999", kind="date")
WAY = question("5 km", kind="quantity", unit="km")
SIZE = question("512", kind="quantity", unit="kibibyte")


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (TOWN, "the hague."),
        (TOWN, "  Hague "),
        (TOWN, "DEN-HAAG"),
        (TOWN, "s Gravenhage"),
        (TOWN, "The\u200b Hague"),
        (TOWN, "Ｔｈｅ　Ｈａｇｕｅ"),
        (COUNT, "1234.5"),
        (COUNT, "1,234.50"),
        (COUNT, "1.2345e3"),
        (BELOW, "−5"),
        (DAY, "4 March 1999"),
        (DAY, "March 4th, 1999"),
        (YEAR, "1999"),
        (WAY, "5000 m"),
        (WAY, "5"),
        (WAY, "5.0 kilometers"),
        (SIZE, "0.5 MiB"),
        (SIZE, "524288 bytes"),
    ],
)
def test_the_same_words_or_the_same_value(asked: Question, answer: str) -> None:
    assert correct(answer, asked)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (TOWN, ""),
        (TOWN, "the"),
        (TOWN, "\u200b"),
        (TOWN, "unknown or The Hague"),
        (TOWN, "The Hague, Rotterdam, Amsterdam, Utrecht, Delft"),
        (TOWN, "Which one? The Hague"),
        (TOWN, "not The Hague"),
        (TOWN, "Тhe Hague"),  # a Cyrillic letter
        (TOWN, "The Hague" + " " * LONGEST),
        (TOWN, "The Hague\nRotterdam"),
        (COUNT, "12345"),
        (COUNT, "1234.5 or 1235"),
        (COUNT, "1,2,3,4.5"),
        (COUNT, "1234.5e99"),
        (BELOW, "5"),
        (DAY, "1999"),
        (DAY, "4 April 1999"),
        (DAY, "03/04/1999"),
        (YEAR, "1999-03-04"),
        (WAY, "5 m"),
        (WAY, "5 miles"),
        (WAY, "5 kg"),
        (WAY, "5 km or 6 km"),
        (WAY, "5 no_such_unit"),
        (WAY, "9**9**9 km"),
        (WAY, "5 km**9999999"),
        (SIZE, "512 kB"),
    ],
)
def test_what_only_looks_like_it(asked: Question, answer: str) -> None:
    assert not correct(answer, asked)


@given(st.text(min_size=1, max_size=40))
def test_a_text_that_contains_the_answer_is_not_the_answer(more: str) -> None:
    for answer in (f"The Hague {more}", f"{more} The Hague"):
        assert correct(answer, TOWN) == (normal(answer) in {normal("The Hague")})


@given(st.text(max_size=60), st.sampled_from([TOWN, COUNT, DAY, YEAR, WAY, SIZE]))
def test_no_answer_breaks_it(answer: str, asked: Question) -> None:
    assert correct(answer, asked) in (True, False)
