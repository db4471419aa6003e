"""Wrong values that look like right ones."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

_LETTERS = "aeiounrtslm"
_QUOTED = re.compile(r"^(['\"])([^'\"\\\n]*)\1$")
_DIGITS = "0123456789"
_LITERAL = re.compile(r"'[^'\\\n]*'|\"[^\"\\\n]*\"|(?<![\w.])\d{1,9}(?![\w.])")
_INTEGER = re.compile(r"^\d{1,9}$")


def other_text(text: str, rng: random.Random) -> str:
    """A text of the same look that differs in one letter, or is a little longer."""
    places = [i for i, char in enumerate(text) if char.isascii() and char.isalnum()]
    if not places:
        return text + rng.choice(_LETTERS)
    at = rng.choice(places)
    kind = "0123456789" if text[at].isdigit() else _LETTERS.upper() if text[at].isupper() else _LETTERS
    return text[:at] + rng.choice([char for char in kind if char != text[at]]) + text[at + 1 :]


def other_number(number: int, rng: random.Random) -> int:
    """A number near by, of the same sign, and no larger than 255 when the first is not."""
    low, high = max(0, abs(number) - 9), min(abs(number) + 9, 127 if abs(number) <= 127 else abs(number))
    other = rng.choice([n for n in range(low, high + 1) if n != abs(number)])
    return -other if number < 0 else other


def pair(rng: random.Random) -> tuple[str, str]:
    """Two short texts that differ."""
    text = "".join(rng.choices(_LETTERS, k=rng.randint(4, 8)))
    return text, other_text(text, rng)


def other_literal(source: str, rng: random.Random, pool: Sequence[str] = ()) -> str | None:
    """A literal of C's look, a quoted text or a whole number, changed; None for anything else.

    Half of the time it is another literal of `pool`, of the same kind: one that stands there already.
    """
    kind = _QUOTED if _QUOTED.match(source) else _INTEGER if _INTEGER.match(source) else None
    if kind is None:
        return None
    alike = [
        other
        for other in pool
        if kind.match(other)
        and other[0] in (source[0], *_DIGITS)
        and other != source
        and abs(len(other) - len(source)) < 5
    ]
    if alike and rng.random() < 0.5:
        return rng.choice(alike)
    if match := _QUOTED.match(source):
        return f"{match[1]}{other_text(match[2], rng)}{match[1]}"
    return str(other_number(int(source), rng))


def literals(text: str) -> list[str]:
    """The quoted texts and whole numbers of a source text, without those that only look so between two others."""
    return [match[0] for match in _LITERAL.finditer(text)]


def distinct(make: Callable[[], str | None], first: str, count: int) -> list[str]:
    """As many different results as are wanted, none of them the first; fewer when there are not so many."""
    found: dict[str, None] = {}
    for _ in range(40 * count):
        if len(found) < count and (new := make()) is not None and new != first:
            found[new] = None
    return list(found)


def call_arguments(source: str, opening: int) -> list[tuple[int, int]] | None:
    """Where the arguments of a call lie, given its opening bracket; None unless the call ends the source.

    Knows strings and brackets, not comments or regular expressions: then it finds no end and says None.
    """
    depth, start, quote, spans = 0, opening + 1, "", []
    at = opening
    while at < len(source):
        char = source[at]
        if quote:
            at += char == "\\"
            quote = "" if char == quote else quote
        elif char in "'\"`":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth == 0:
                spans.append((start, at))
                return _trimmed(source, spans) if source[at + 1 :].strip() in ("", ";") else None
        elif char == "," and depth == 1:
            spans.append((start, at))
            start = at + 1
        at += 1
    return None


def _trimmed(source: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out = []
    for start, end in spans:
        piece = source[start:end]
        out.append((start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))))
    return out
