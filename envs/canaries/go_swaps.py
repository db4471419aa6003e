"""Values of a Go test that seem to be expectations: in comparisons, and in the rows of tables."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import pairwise

from envfarm.envs.canaries.base import Swap
from envfarm.envs.canaries.words import other_literals, swapped

_VALUE = r"\"[^\"\\\n]*\"|\d{1,9}"
_COMPARED = re.compile(rf"^\t+(?:\}} else )?if [^\n]* != ({_VALUE}) \{{$", re.M)
# Behind a row gofmt aligns the comments: a value of another length would stand out there.
_ROW = r"^\t+\{[^\n]*[ {](?P<value>%s)\},?$"
_FIELD = r"^\t+(?i:want|exp|out|res|err|valid|ok|fail|should)\w*:\s+(?P<value>%s),$"
_BOOL = "true|false"
_PATTERNS = ((True, False), (False, True), (True, True))  # which of two places are turned


def swaps(source: str, pool: Sequence[str], count: int, rng: random.Random) -> list[Swap]:
    """Literals in comparisons, then values of rows that are true or false, then others; each in random order."""

    def others(value: str) -> list[str]:
        return other_literals(value, count, rng, pool)

    compared = [match.span(1) for match in _COMPARED.finditer(source)]
    return [
        *swapped(source, compared, others, count, rng),
        *_turned(source, _places(source, _BOOL), count, rng),
        *swapped(source, _places(source, _VALUE), others, count, rng),
    ]


def _places(source: str, value: str) -> list[tuple[int, int]]:
    forms = [re.compile(form % value, re.M) for form in (_ROW, _FIELD)]
    return sorted(match.span("value") for form in forms for match in form.finditer(source))


def _turned(source: str, places: Sequence[tuple[int, int]], count: int, rng: random.Random) -> list[Swap]:
    """Pairs of places of which one, the other or both are turned.

    With one place in each decoy the true version would differ least from all others; of two places' four states every
    one has two neighbours.
    """
    if count > len(_PATTERNS):
        return []
    found = []
    pairs = list(pairwise(places))  # neighbours, so that little is kept
    for first, second in rng.sample(pairs, len(pairs)):
        between = source[first[1] : second[0]]
        wrong = [
            _value(source, first, turned=one) + between + _value(source, second, turned=two)
            for one, two in rng.sample(_PATTERNS, count)
        ]
        found.append(Swap(first[0], second[1], tuple(wrong)))
    return found


def _value(source: str, place: tuple[int, int], *, turned: bool) -> str:
    text = source[place[0] : place[1]]
    return {"true": "false", "false": "true"}[text] if turned else text
