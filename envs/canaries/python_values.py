"""Wrong expectations for Python's tests, that look as the right ones do."""

from __future__ import annotations

import ast
import random
import re
from typing import Any

from envfarm.envs.canaries.words import distinct, level, other_characters, other_numbers, pair
from envfarm.tasks.python_syntax import parse

KINDS = (str, bytes, int, float)
"""Types of the constants that can be changed: not bool, of which there is one other only."""

_WORD = re.compile(r"[A-Za-z]+|\d+")
_NEAR = 5  # so much may the lengths of two literals differ when one stands in for the other


def is_literal(node: ast.expr) -> bool:
    """Whether an expression is a value that is written out."""
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return False
    return True


def constants(node: ast.expr) -> list[ast.Constant]:
    """The constants of a literal that can be changed; none within other expressions."""
    parts = ast.walk(node) if is_literal(node) else ()
    return [part for part in parts if isinstance(part, ast.Constant) and type(part.value) in KINDS]


def other_values(source: str, node: ast.expr, text: str, rng: random.Random, count: int) -> list[str]:
    """Source of different wrong values to stand in a literal's place; `text` is the file, whose other literals may.

    All differ from the right one in one place: a letter, a word or a constant of it. Fewer than `count` when there are
    not so many.
    """
    whole = ast.get_source_segment(source, node) or ""
    inner = constants(node)
    if not inner:
        return _longer(whole, ast.literal_eval(node), rng, count)
    part = rng.choice(inner)
    segment = ast.get_source_segment(source, part) or ""
    at = offset(source, part) - offset(source, node)
    pool, words, value = _pool(text, segment, part.value), _words(source), ast.literal_eval(node)

    def draw() -> list[str]:
        new = _reworded(segment, words, rng) if rng.random() < 0.7 else []
        if len(new) < count:
            wide = len(pool) >= count and rng.random() < 0.5
            new = rng.sample(pool, len(pool)) if wide else _changed(segment, part.value, rng, count)
        changed = [whole[:at] + one + whole[at + len(segment) :] for one in new]
        return [one for one in changed if _differs(one, value)]

    return level(whole, draw, count, rng)


def offset(source: str, node: ast.expr) -> int:
    """Where an expression begins in its source, in characters."""
    lines = source.splitlines(keepends=True)[: node.lineno]
    return sum(map(len, lines[:-1])) + len(lines[-1].encode()[: node.col_offset].decode())  # columns are in bytes


def _differs(new: str, value: Any) -> bool:
    try:
        return bool(ast.literal_eval(new) != value)
    except (ValueError, TypeError, SyntaxError):
        return False


def _changed(segment: str, value: Any, rng: random.Random, count: int) -> list[str]:
    """A constant's source with one letter or digit changed, so that quotes, prefixes and escapes stay."""
    if isinstance(value, int):
        return [str(number) for number in other_numbers(value, count, rng)] if segment.isdigit() else []
    opening = re.match(r"[a-zA-Z]*(\'\'\'|\"\"\"|\'|\"|)", segment)
    start = opening.end() if opening else 0
    end = len(segment) - (len(opening[1]) if opening else 0)
    places = [i for i in range(start, end) if segment[i].isascii() and segment[i].isalnum()]
    if not places:
        longer = [segment[:end] + letter + segment[end:] for letter in other_characters("", rng)]
        return longer if isinstance(value, str | bytes) else []
    at = rng.choice(places)
    if "\\" in segment[max(start, at - 9) : at]:
        return []  # an escape may reach so far
    return [segment[:at] + char + segment[at + 1 :] for char in other_characters(segment[at], rng)]


def _words(source: str) -> list[str]:
    """Words and numbers of all constants of a test: what is expected is often a part of what was put in."""
    texts = [
        part.value.decode(errors="replace") if isinstance(part.value, bytes) else str(part.value)
        for part in ast.walk(parse(source))
        if isinstance(part, ast.Constant) and type(part.value) in (str, bytes, int)
    ]
    return sorted({word for text in texts for word in _WORD.findall(text)})


def _reworded(segment: str, words: list[str], rng: random.Random) -> list[str]:
    """A constant's source with one word or number instead of which stand others of the same test."""
    start = 0 if segment.isdigit() else 1 + max(segment.find("'"), 0 if "'" in segment else segment.find('"'))
    found = [match for match in _WORD.finditer(segment, start) if segment[match.start() - 1 : match.start()] != "\\"]
    if not found:
        return []
    match = rng.choice(found)
    alike = [word for word in words if word != match[0] and word.isdigit() == match[0].isdigit()]
    alike = rng.sample(alike, len(alike))
    return [segment[: match.start()] + word + segment[match.end() :] for word in alike]


def _pool(text: str, segment: str, value: Any) -> list[str]:
    """Other constants of the file that could as well stand there: of the same kind, look and about the same length."""
    found = set()
    lines = text.splitlines(keepends=True)
    for node in ast.walk(parse(text)):
        if isinstance(node, ast.Constant) and type(node.value) is type(value) and node.lineno == node.end_lineno:
            line = lines[node.lineno - 1].encode()
            found.add(line[node.col_offset : node.end_col_offset].decode(errors="replace"))
    alike = [one for one in found if one[:1] == segment[:1] or segment.isdigit()]
    return sorted(one for one in alike if abs(len(one) - len(segment)) < _NEAR and one != segment)


def _longer(whole: str, value: Any, rng: random.Random, count: int) -> list[str]:
    """For an empty list or dict, and for those of nothing but None, True and False: one with a text more."""

    def other() -> str | None:
        text = pair(rng)[0]
        return repr({text: text} if value == {} else [*value, text] if isinstance(value, list) else [value, text])

    return distinct(other, whole, count)
