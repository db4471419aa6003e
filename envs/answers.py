"""Whether an answer is the expected one: the same words, or the same value; never a text that merely contains it.

Source of the normalisation: SQuAD's evaluation script (lower case, no punctuation, no articles, single spaces).
"""

from __future__ import annotations

import re
import string
import unicodedata
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

import pint

from envfarm.tasks.search.question import Question

LONGEST = 200
"""Characters of an answer; a longer one is no answer."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’“”´`–—…", " "))
_NUMBER = r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d{1,30})(?:\.\d{1,30})?(?:[eE][-+]?\d{1,2})?"
_JUST_NUMBER = re.compile(_NUMBER)
_QUANTITY = re.compile(rf"({_NUMBER})\s*([A-Za-zµμ°%]{{1,24}}(?:/[A-Za-z]{{1,12}})?(?:[²³])?)?")
_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%d %B %Y", "%d %b %Y", "%B %d %Y", "%b %d %Y")
_MONTHS = ("%Y-%m", "%B %Y", "%b %Y")
_CLOSE = Decimal("1e-9")  # of what a conversion of units may lose


def correct(answer: str, question: Question) -> bool:
    """Whether an answer is the question's, or one of its aliases; numbers, dates and quantities by their value."""
    if len(answer) > LONGEST:
        return False
    return any(_same(answer, gold, question) for gold in (question.answer, *question.aliases))


def normal(text: str) -> str:
    """A text as it is compared: without case, punctuation, articles, and characters that nobody sees."""
    text = unicodedata.normalize("NFKC", text)
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return " ".join(_ARTICLES.sub(" ", text.casefold().translate(_PUNCTUATION)).split())


def _same(answer: str, gold: str, question: Question) -> bool:
    if normal(answer) and normal(answer) == normal(gold) and not _of_value(question):
        return True
    match question.kind:
        case "number":
            return _number(answer) is not None and _number(answer) == _number(gold)
        case "date":
            return _date(answer) is not None and _date(answer) == _date(gold)
        case "quantity":
            return _same_quantity(answer, gold, question.unit)
        case "text":
            return False


def _of_value(question: Question) -> bool:
    """Without their signs and points, words of numbers say another number: -5 is not 5, and 1.5 is not 1 5."""
    return question.kind != "text"


def _number(text: str) -> Decimal | None:
    text = text.strip().rstrip(".").strip()
    if not _JUST_NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text.replace(",", "").replace("−", "-"))
    except InvalidOperation:
        return None


def _date(text: str) -> tuple[int, ...] | None:
    """Year, month and day, as far as a date goes."""
    text = " ".join(text.replace(",", " ").split()).rstrip(".")
    text = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", text)
    for forms, parts in ((_DAYS, 3), (_MONTHS, 2), (("%Y",), 1)):
        for form in forms:
            try:
                found = datetime.strptime(text, form)
            except ValueError:
                continue
            return (found.year, found.month, found.day)[:parts]
    return None


def _same_quantity(answer: str, gold: str, unit: str | None) -> bool:
    one, other = _quantity(answer, unit), _quantity(gold, unit)
    if one is None or other is None:
        return False
    try:
        converted = one.to(other.units).magnitude
    except pint.errors.PintError:
        return False
    return bool(abs(converted - other.magnitude) <= _CLOSE * max(abs(other.magnitude), Decimal(1)))


def _quantity(text: str, unit: str | None) -> Any:
    """A number with its unit, or with the one that the question asks for; None where it is none."""
    found = _QUANTITY.fullmatch(text.strip().rstrip("."))
    number = None if found is None else _number(found[1])
    if found is None or number is None:
        return None
    try:  # the unit alone, and a short one: pint evaluates what it is given
        return _units().Quantity(number, found[2] or unit or "dimensionless")
    except (pint.errors.PintError, pint.errors.DefinitionSyntaxError, ValueError, TypeError, AttributeError):
        return None


@cache
def _units() -> Any:
    return pint.UnitRegistry(non_int_type=Decimal, autoconvert_offset_to_baseunit=True)
