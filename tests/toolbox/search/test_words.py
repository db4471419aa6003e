"""A query's words, and the part of a text that is shown for them."""

from __future__ import annotations

from envfarm.toolbox.search.words import SNIPPET, snippet, words


def test_common_words_count_only_where_nothing_else_does() -> None:
    assert words("Where is the Eiffel tower, the TOWER?") == ["eiffel", "tower"]
    assert words("who is it") == ["who", "is", "it"]
    assert words(" ?! ") == []


def test_the_part_with_most_of_the_words_is_shown() -> None:
    text = "start " * 200 + "the [red](x/y) apple fell " + "end " * 200
    shown = snippet(text, ["red", "apple"])
    assert "the red apple fell" in shown
    assert (shown[:1], shown[-1:]) == ("…", "…")
    assert len(shown) <= SNIPPET + 4
    assert snippet("short text", ["none"]) == "short text"
