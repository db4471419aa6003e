"""JSON for text columns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envfarm.orchestrator.store.codec import dump, load, plain

ANY_TEXT = st.text(st.characters(codec=None))
VALUES = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | ANY_TEXT, st.lists, max_leaves=5)


@given(VALUES)
def test_whatever_a_model_wrote_comes_back(value: Any) -> None:
    text = dump(value)
    assert "\0" not in text
    text.encode()
    assert load(text) == value


@given(ANY_TEXT)
def test_plain_text_suits_every_database(text: str) -> None:
    assert "\0" not in plain(text)
    plain(text).encode()


@pytest.mark.parametrize(("text", "expected"), [("a\0b", "a\\0b"), ("x" * 3000, "x" * 2000)])
def test_plain(text: str, expected: str) -> None:
    assert plain(text) == expected
