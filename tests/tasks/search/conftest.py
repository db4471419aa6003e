"""A small world to ask about."""

from __future__ import annotations

import random

import pytest

from envfarm.toolbox.search.base import Document

_BEGIN = ("Al", "Ber", "Cor", "Dun", "El", "Far", "Gar", "Hol", "In", "Kel", "Lun", "Mor", "Nor", "Ost", "Pel")
_MIDDLE = ("", "la", "mi", "no", "ru")
_END = ("by", "dale", "ford", "ham", "ton", "wick")


@pytest.fixture(scope="session")
def towns() -> list[Document]:
    """Towns on rivers, with twin towns, from a chance that is always the same."""
    chance = random.Random(1)
    names = [begin + middle + end for begin in _BEGIN for middle in _MIDDLE for end in _END]
    rivers = [f"River {begin}{letter}" for begin in _BEGIN for letter in "aeiou"]
    made = [Document(id=_id(river), title=river, text=f"Length: {chance.randrange(20, 400, 20)}") for river in rivers]
    for name in names:
        river, twin = chance.choice(rivers), chance.choice([other for other in names if other != name])
        text = (
            f"River: [{river}]({_id(river)})\nTwin town: [{twin}]({_id(twin)})\n"
            f"Founded: {chance.randrange(1000, 1900, 50)}\nInhabitants: {chance.randrange(500, 20_000, 500)}\n"
            f"Market: {chance.choice(['Monday', 'Friday', 'Sunday'])}\n"
        )
        made.append(Document(id=_id(name), title=name, text=text))
    return made


def _id(name: str) -> str:
    kind, _, rest = name.lower().rpartition(" ")
    return f"{kind or 'town'}/{rest}"
