"""Wrong values that look like right ones."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from envfarm.envs.canaries.base import Swap

_LETTERS = "aeiounrtslm"
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"
_QUOTED = re.compile(r"^(['\"])([^'\"\\\n]*)\1$")
_LITERAL = re.compile(r"'[^'\\\n]*'|\"[^\"\\\n]*\"|(?<![\w.])\d{1,9}(?![\w.])")
_INTEGER = re.compile(r"^(?:0|[1-9]\d{0,8})$")
_NEAR = 9  # so far from the right number lie the wrong ones
_LIMITS = (127, 255, 32767, 65535, 2**31 - 1)  # what types of numbers end at: a larger one may not even compile
_DRAWS = 100


def level(true: str, draw: Callable[[], list[str]], count: int, rng: random.Random) -> list[str]:
    """Wrong values among which the true one is not to be found by its distance from the others.

    `draw` makes wrong values, all different; fewer than `count` of them are no draw. How many of them lie nearer to
    the middle than the true one is a matter of luck alone, where enough draws can be made for that.
    """
    first: list[str] = []
    wanted = rng.randint(0, count)
    for _ in range(_DRAWS):
        values = draw()[:count]
        if len(values) == count:
            first = first or values
            if count == 1 or _nearer(true, values, rng) == wanted:
                return values
    return first


def other_texts(text: str, count: int, rng: random.Random) -> list[str]:
    """Texts of the same look that differ from this one, and from each other, in one and the same letter or digit."""
    places = [i for i, char in enumerate(text) if char.isascii() and char.isalnum()]
    if not places:
        return [text + letter for letter in rng.sample(_LOWER, count)]
    at = rng.choice(places)
    return [text[:at] + char + text[at + 1 :] for char in other_characters(text[at], rng)][:count]


def other_characters(char: str, rng: random.Random) -> list[str]:
    """All other digits, or all other letters of the same case, in random order."""
    kind = _DIGITS if char.isdigit() else _LOWER.upper() if char.isupper() else _LOWER
    return [other for other in rng.sample(kind, len(kind)) if other != char]


def other_numbers(number: int, count: int, rng: random.Random) -> list[int]:
    """Numbers near by, of the same sign and size of type, the right one anywhere among them; `count` is 9 at most."""
    size = abs(number)
    smaller = range(max(0, size - _NEAR), size)
    limit = next((limit for limit in _LIMITS if size <= limit), size + _NEAR)
    larger = range(size + 1, min(size + _NEAR, limit) + 1)
    below = rng.randint(max(0, count - len(larger)), min(count, len(smaller)))
    chosen = [*rng.sample(smaller, below), *rng.sample(larger, count - below)]
    rng.shuffle(chosen)
    return [-other if number < 0 else other for other in chosen]


def same_and_others(rng: random.Random, count: int) -> list[str]:
    """Short texts for lines that compare two: the first, and as many others as are wanted, at one distance."""
    text = "".join(rng.choices(_LETTERS, k=rng.randint(4, 8)))
    return [text, *other_texts(text, count, rng)]


def pair(rng: random.Random) -> tuple[str, str]:
    """Two short texts that differ."""
    one, two = same_and_others(rng, 1)
    return one, two


def other_literals(source: str, count: int, rng: random.Random, pool: Sequence[str] = ()) -> list[str]:
    """Wrong values for a literal of C's look, a quoted text or a whole number; none for anything else.

    Half of the time they are other literals of `pool`, of the same kind: such as stand there already.
    """
    text = _QUOTED.match(source)
    kind = _QUOTED if text else _INTEGER
    if not kind.match(source):
        return []
    alike = sorted({other for other in pool if kind.match(other) and other[0] in (source[0], *_DIGITS)} - {source})
    alike = [other for other in alike if abs(len(other) - len(source)) < 5]

    def draw() -> list[str]:
        if len(alike) >= count and rng.random() < 0.5:
            return rng.sample(alike, count)
        if text:
            return [f"{text[1]}{other}{text[1]}" for other in other_texts(text[2], count, rng)]
        return [str(other) for other in other_numbers(int(source), count, rng)]

    return level(source, draw, count, rng)


def replaced(
    source: str, places: Sequence[tuple[int, int]], others: Callable[[str], list[str]], count: int, rng: random.Random
) -> list[str]:
    """The source with other values in one of these places, the same in all; none where no place has enough."""
    for start, end in rng.sample(places, len(places)):
        values = others(source[start:end])
        if len(values) == count:
            return [source[:start] + value + source[end:] for value in values]
    return []


def swapped(
    source: str, places: Sequence[tuple[int, int]], others: Callable[[str], list[str]], count: int, rng: random.Random
) -> list[Swap]:
    """Each of these places, in random order, with other values where it has enough."""
    found = [Swap(start, end, tuple(others(source[start:end]))) for start, end in rng.sample(places, len(places))]
    return [swap for swap in found if len(swap.wrong) == count]


def _nearer(true: str, values: Sequence[str], rng: random.Random) -> int:
    """How many values lie nearer to all others than the true one; luck decides between those that lie equally near."""
    every = [true, *values]
    sums = [(sum(distance(one, other) for other in every), rng.random()) for one in every]
    return sum(one < sums[0] for one in sums)


def distance(one: str, other: str) -> int:
    """How many characters must be put in, taken out or changed to make one text the other."""
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    row = list(range(len(other) + 1))
    for i, char in enumerate(one, 1):
        above, row = row, [i]
        for j, there in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (char != there)))
    return row[-1]


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
    """Where the arguments of a call lie, given its opening bracket; None unless a line ends where it does.

    Knows strings and brackets. A comment or an open string makes it None, and a regular expression may.
    """
    depth, start, quote, spans = 0, opening + 1, "", []
    at = opening
    while at < len(source):
        char = source[at]
        if quote:
            at += char == "\\"
            quote = "" if char == quote else quote
            if char == "\n" and quote != "`":
                return None
        elif source.startswith(("//", "/*"), at):
            return None
        elif char in "'\"`":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth == 0:
                spans.append((start, at))
                return _trimmed(source, spans) if source[at + 1 :].partition("\n")[0].strip() in ("", ";") else None
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
