"""Bytes from a sandbox as text."""

from __future__ import annotations

import pytest

from envfarm.toolbox.tools.text import cut_text, decode


def test_what_is_not_utf8_is_escaped() -> None:
    assert decode(b"a\xff\x00\xc3\xa9") == "a\\xff\\x00é"


def test_a_cut_says_where_and_how_much_is_missing() -> None:
    text = cut_text(b"headtail", 4, 1000, "the whole of it is in /tmp/x")
    assert text == "head\n[... 992 of 1000 bytes cut here; the whole of it is in /tmp/x ...]\ntail"


@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_a_character_that_the_cut_split_counts_as_missing(character: str) -> None:
    whole = character.encode() * 10
    size = len(character.encode())
    for cut in range(size, 2 * size):
        data = whole[:cut] + whole[-cut:]
        text = cut_text(data, cut, len(whole))
        assert text == f"{character}\n[... {len(whole) - 2 * size} of {len(whole)} bytes cut here ...]\n{character}"


def test_bytes_that_are_no_character_stay_at_the_cut() -> None:
    assert cut_text(b"a\xff" + b"\xffb", 2, 10) == "a\\xff\n[... 6 of 10 bytes cut here ...]\n\\xffb"
