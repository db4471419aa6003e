"""What both indexes make of a query and of a text: its words, and the part that is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

SNIPPET = 300
"""Characters of a document that a hit shows."""
_WORD = re.compile(r"\w+")
_LINK = re.compile(r"\[([^\]\[]*)\]\([^()\s]*\)")
_COMMON = """
a an and are as at be but by did do does for from had has have how in into is it its of on or that the their there these
they this to was were what when where which who whom whose why will with
"""
STOP_WORDS = frozenset(_COMMON.split())


def words(text: str) -> list[str]:
    """The words of a query in their order, each once, without the commonest; those too where nothing else is left."""
    found = list(dict.fromkeys(match[0].casefold() for match in _WORD.finditer(text)))
    return [word for word in found if word not in STOP_WORDS] or found


def snippet(text: str, query: list[str]) -> str:
    """The part of a text in which most of a query's words stand, in one line."""
    plain = _LINK.sub(r"\1", text)
    wanted = frozenset(query)
    hits = [match.start() for match in _WORD.finditer(plain[:200_000]) if match[0].casefold() in wanted]
    best, most = 0, 0
    for first, at in enumerate(hits):
        inside = sum(1 for other in _until(hits, first, at + SNIPPET))
        if inside > most:
            best, most = at, inside
    start = max(0, best - SNIPPET // 6)
    if start:
        start = plain.find(" ", start) + 1 or start
    shown = " ".join(plain[start : start + SNIPPET].split())
    return ("… " if start else "") + shown + (" …" if start + SNIPPET < len(plain) else "")


def _until(hits: list[int], first: int, end: int) -> Iterator[int]:
    for at in hits[first : first + 40]:
        if at > end:
            return
        yield at
