"""Whether an answer is the one that was asked for: the same words, or the same value. Never a part of it.

Words are compared in the manner of SQuAD (case, punctuation, articles and white space do not count), but signs that
tell two names apart (`C++`, `1.2`, `-5`) stay. Numbers, dates and quantities are compared by their value as well.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from envfarm.tasks.search.question import AnswerKind

LIMIT = 300
"""Characters of an answer; a longer one is no answer."""

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"([+-]?(?:\d{1,3}(?:[, ]\d{3})+|\d{1,30})(?:\.\d{1,30})?)(?: (thousand|million|billion))?")
_SCALES = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_ISO = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_DAY_FIRST = re.compile(r"(?:(\d{1,2})(?:st|nd|rd|th)? (?:of )?)?([a-z]{3,9})\.?,? (\d{4})")
_MONTH_FIRST = re.compile(r"([a-z]{3,9})\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})")
_QUANTITY = re.compile(r"(.*\d|.*(?:thousand|million|billion)) ?([a-zµ°%/²³0-9]+)", re.IGNORECASE)

# What a unit is of, and how many of the first one it is. Spelt with case where case tells them apart.
_UNITS: dict[str, tuple[str, Decimal]] = {
    unit: (dimension, Decimal(factor))
    for dimension, units in {
        "length": {
            "m": "1",
            "mm": "0.001",
            "cm": "0.01",
            "km": "1000",
            "mi": "1609.344",
            "ft": "0.3048",
            "in": "0.0254",
        },
        "mass": {"g": "1", "mg": "0.001", "kg": "1000", "t": "1000000", "lb": "453.59237", "oz": "28.349523125"},
        "time": {"s": "1", "ms": "0.001", "min": "60", "h": "3600", "d": "86400"},
        "data": {"B": "1", "kB": "1000", "KB": "1000", "MB": "1e6", "GB": "1e9", "TB": "1e12"}
        | {"KiB": "1024", "MiB": "1048576", "GiB": "1073741824"},
        "area": {"m²": "1", "m2": "1", "km²": "1e6", "km2": "1e6", "ha": "1e4"},
        "share": {"%": "1"},
    }.items()
    for unit, factor in units.items()
}
_NAMES = {
    "metre": "m", "meter": "m", "kilometre": "km", "kilometer": "km", "mile": "mi", "foot": "ft", "feet": "ft",
    "inch": "in", "gram": "g", "kilogram": "kg", "tonne": "t", "pound": "lb", "second": "s", "sec": "s",
    "minute": "min", "hour": "h", "day": "d", "byte": "B", "kilobyte": "kB", "megabyte": "MB", "gigabyte": "GB",
    "percent": "%",
}  # fmt: skip


def correct(answer: str, expected: Sequence[str], *, kind: AnswerKind = "text", unit: str | None = None) -> bool:
    """Whether an answer is one of those expected. `unit` is that of a quantity for which only a number is given."""
    if len(answer) > LIMIT:
        return False
    return any(_same(answer, one, kind, unit) for one in expected)


def _same(answer: str, expected: str, kind: AnswerKind, unit: str | None) -> bool:
    """By value where the expected answer has one: `Mb` and `MB` are the same words, and not the same unit."""
    wanted = None if kind == "text" else _value(_tidy(expected), kind, unit)
    if wanted is not None:
        return _value(_tidy(answer), kind, unit) == wanted
    given = normal(answer)
    return bool(given) and given == normal(expected)


def visible(text: str) -> str:
    """A text without the characters that nobody sees, so that what is compared and judged is what is read."""
    text = unicodedata.normalize("NFKC", text)
    return "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")


def normal(text: str) -> str:
    """The words of a text, as they are compared."""
    text = _THOUSANDS.sub("", visible(text).casefold())
    kept = "".join(c for at, c in enumerate(text) if c.isspace() or not _drops(text, at))
    words = " ".join(kept.split())
    return " ".join(_ARTICLES.sub(" ", words).split()) or words  # a name may be nothing but an article


def _drops(text: str, at: int) -> bool:
    """Whether a character is punctuation that tells no two names apart."""
    if unicodedata.category(text[at])[0] != "P":
        return False
    before, after = text[at - 1 : at] if at else "", text[at + 1 : at + 2]
    if text[at] == "#" and before.isalnum():
        return False
    joins = (before.isalnum() and after.isalnum()) or (not before.strip() and text[at] in "-.")
    return not (joins and (before.isdigit() or after.isdigit()))


def _value(text: str, kind: AnswerKind, unit: str | None) -> object:
    """What a text means; two that mean the same are equal. None where it cannot be read."""
    match kind:
        case "number":
            return _number(text)
        case "date":
            return _date(text)
    return _quantity(text, unit)


def _tidy(text: str) -> str:
    return " ".join(visible(text).replace("−", "-").split()).strip(" .!\"'")


def _number(text: str) -> object:
    text = text.casefold()
    if text in _SMALL:
        return Decimal(_SMALL.index(text))
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    return Decimal(re.sub("[, ]", "", match[1])) * _SCALES.get(match[2] or "", 1)


def _date(text: str) -> object:
    """Year, month, day, as far as they are said: a year is not the same as a day of it."""
    text = text.casefold()
    if match := _ISO.fullmatch(text):
        year, month, day = match[1], match[2], match[3]
    elif match := _DAY_FIRST.fullmatch(text):
        year, month, day = match[3], _month(match[2]), match[1]
    elif match := _MONTH_FIRST.fullmatch(text):
        year, month, day = match[3], _month(match[1]), match[2]
    else:
        return None
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return None
    return int(year), int(month) if month else None, int(day) if day else None


def _month(word: str) -> str:
    found = [number for number, name in enumerate(_MONTHS, 1) if name == word or name[:3] == word]
    return str(found[0]) if found else "0"  # which no date has


def _quantity(text: str, unit: str | None) -> object:
    match = _QUANTITY.fullmatch(text)
    number, written = (match[1], match[2]) if match else (text, unit or "")
    if _number(text) is not None:
        number, written = text, unit or ""
    value, known = _number(number.strip()), _unit(written)
    if not isinstance(value, Decimal) or known is None:
        return None
    dimension, factor = known
    return dimension, value * factor


def _unit(written: str) -> tuple[str, Decimal] | None:
    name = written.casefold()
    plain = _NAMES.get(name) or _NAMES.get(name.removesuffix("s")) or written
    return _UNITS.get(plain)
