"""What a literal says: a number, a date, or words. Numbers and dates can be compared, and blurred into ranges."""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from typing import Literal

Form = Literal["number", "date", "text"]
_NUMBER = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-+]?\d+(?:\.\d+)?")
_DATES = ("%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%d %b %Y", "%Y/%m/%d")


def number(text: str) -> float | None:
    """The number that a text is, with or without commas between thousands."""
    return float(text.replace(",", "")) if _NUMBER.fullmatch(text) else None


def day(text: str) -> float | None:
    """The day that a text is, as its proleptic Gregorian ordinal."""
    if not text[-1:].isdigit():
        return None
    for form in _DATES:
        try:
            return float(datetime.strptime(text, form).toordinal())
        except ValueError:
            continue
    return None


def measure(text: str, form: Form) -> float | None:
    """Where a literal stands among those of its form; None where it has no place."""
    if form == "text":
        return None
    return number(text) if form == "number" else day(text)


def around(value: float, form: Form, share: float) -> tuple[float, float]:
    """A range with round ends around a value: `share` of it to either side; of a day, its year or its decade."""
    if form == "date":
        year = date.fromordinal(int(value)).year
        first, last = (year, year) if share < 0.2 else (year - year % 10, year - year % 10 + 9)
        return float(date(max(first, 1), 1, 1).toordinal()), float(date(last, 12, 31).toordinal())
    width = max(abs(value) * share, 1.0)
    step = 10.0 ** math.floor(math.log10(width))
    return math.floor((value - width) / step) * step, math.ceil((value + width) / step) * step


def shown(value: float, form: Form) -> str:
    """An end of a range, as people write it."""
    if form == "date":
        whole = date.fromordinal(int(value))
        return f"{whole.day} {whole:%B} {whole.year}"
    return f"{value:,.0f}" if value == int(value) else f"{value:,g}"
