"""Wrong expectations for Python's tests, that look as the right ones do."""

from __future__ import annotations

import ast
import random
import re
from typing import Any

from envfarm.envs.canaries.words import distinct, other_number, pair
from envfarm.tasks.python_syntax import parse

_LETTERS = "aeiounrtslm"
_WORD = re.compile(r"[A-Za-z]+|\d+")
_NEAR = 5  # so much may the lengths of two literals differ when one stands in for the other


def is_literal(node: ast.expr) -> bool:
    """Whether an expression is a value that is written out."""
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return False
    return True


def other_values(source: str, node: ast.expr, text: str, rng: random.Random, count: int) -> list[str]:
    """Source of different wrong values to stand in a node's place; `text` is the file, whose other literals may.

    All differ from the right one in the same constant. Fewer than `count` when there are not so many.
    """
    whole = ast.get_source_segment(source, node) or ""
    if not is_literal(node):
        return distinct(lambda: f"[{whole}, {pair(rng)[0]!r}]", whole, count)
    inner = [part for part in ast.walk(node) if isinstance(part, ast.Constant) and type(part.value) in _KINDS]
    if not inner:
        return _longer(whole, ast.literal_eval(node), rng, count)
    part = rng.choice(inner)
    segment = ast.get_source_segment(source, part) or ""
    at = _offset(source, part) - _offset(source, node)
    pool, value = _pool(text, segment, part.value), ast.literal_eval(node)
    words = _words(source)

    def other() -> str | None:
        new = _reworded(segment, words, rng) if rng.random() < 0.7 else None
        if new is None:
            new = rng.choice(pool) if pool and rng.random() < 0.5 else _changed(segment, part.value, rng)
        changed = None if new is None else whole[:at] + new + whole[at + len(segment) :]
        return changed if changed is not None and _differs(changed, value) else None

    return distinct(other, whole, count)


_KINDS = (str, bytes, int, float)


def _offset(source: str, node: ast.expr) -> int:
    lines = source.splitlines(keepends=True)[: node.lineno]
    return sum(map(len, lines[:-1])) + len(lines[-1].encode()[: node.col_offset].decode())  # columns are in bytes


def _differs(new: str, value: Any) -> bool:
    try:
        return bool(ast.literal_eval(new) != value)
    except (ValueError, TypeError, SyntaxError):
        return False


def _changed(segment: str, value: Any, rng: random.Random) -> str | None:
    """A constant's source with one letter or digit changed, so that quotes, prefixes and escapes stay."""
    if isinstance(value, int):
        return str(other_number(value, rng)) if segment.isdigit() else None
    opening = re.match(r"[a-zA-Z]*(\'\'\'|\"\"\"|\'|\"|)", segment)
    start = opening.end() if opening else 0
    end = len(segment) - (len(opening[1]) if opening else 0)
    places = [i for i in range(start, end) if segment[i].isascii() and segment[i].isalnum()]
    if not places:
        return segment[:end] + rng.choice(_LETTERS) + segment[end:] if isinstance(value, str | bytes) else None
    at = rng.choice(places)
    kind = "0123456789" if segment[at].isdigit() else _LETTERS.upper() if segment[at].isupper() else _LETTERS
    if "\\" in segment[max(start, at - 9) : at]:
        return None  # an escape may reach so far
    return segment[:at] + rng.choice(kind) + segment[at + 1 :]


def _words(source: str) -> list[str]:
    """Words and numbers of all constants of a test: what is expected is often a part of what was put in."""
    texts = [
        part.value.decode(errors="replace") if isinstance(part.value, bytes) else str(part.value)
        for part in ast.walk(parse(source))
        if isinstance(part, ast.Constant) and type(part.value) in (str, bytes, int)
    ]
    return sorted({word for text in texts for word in _WORD.findall(text)})


def _reworded(segment: str, words: list[str], rng: random.Random) -> str | None:
    """A constant's source with one word or number instead of which stands another of the same test."""
    start = 0 if segment.isdigit() else 1 + max(segment.find("'"), 0 if "'" in segment else segment.find('"'))
    found = [match for match in _WORD.finditer(segment, start) if segment[match.start() - 1 : match.start()] != "\\"]
    if not found:
        return None
    match = rng.choice(found)
    alike = [word for word in words if word != match[0] and word.isdigit() == match[0].isdigit()]
    return segment[: match.start()] + rng.choice(alike) + segment[match.end() :] if alike else None


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
