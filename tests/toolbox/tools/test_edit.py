"""The edit of `str_replace` on text alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envfarm.toolbox.tools.edit import NoEdit, hint, replace, show
from envfarm.toolbox.tools.textfile import readings


def edited(data: bytes, old: str, new: str) -> bytes | None:
    file = readings(data)[0]
    edit = replace(file, old, new)
    return None if edit is None else file.encode(edit.text)


def test_one_occurrence_is_replaced() -> None:
    assert edited(b"a\nb\nc\n", "b", "B\nB") == b"a\nB\nB\nc\n"


def test_no_occurrence_is_none() -> None:
    assert edited(b"a\n", "b", "c") is None


def test_several_occurrences_are_listed_with_their_lines() -> None:
    with pytest.raises(NoEdit, match="occurs 3 times, at lines 1, 3, 3;"):
        edited(b"x = 1\ny\nx x\n", "x", "z")


def test_overlapping_occurrences_are_not_unique() -> None:
    with pytest.raises(NoEdit, match="occurs 2 times, at lines 1, 1;"):
        edited(b"aaa", "aa", "b")


def test_a_long_list_of_occurrences_is_cut() -> None:
    with pytest.raises(NoEdit, match=r"occurs 50 times.* and 30 more;"):
        edited(b"x\n" * 50, "x", "z")


@pytest.mark.parametrize(
    ("data", "old", "new", "after"),
    [
        (b"a\r\nb\r\nc\r\n", "a\nb", "A\nB\nB", b"A\r\nB\r\nB\r\nc\r\n"),
        (b"a\r\nb\r\n", "a", "A\nA", b"A\r\nA\r\nb\r\n"),
        (b"a\r\nb\r\n", "a\r\n", "A\r\n", b"A\r\nb\r\n"),
        (b"a\nb\r\nc\r\n", "b\nc", "B\nC", b"a\nB\r\nC\r\n"),
        (b"a\nb\nc\r\n", "a\nb", "A\nB", b"A\nB\nc\r\n"),
    ],
)
def test_line_ends_stay(data: bytes, old: str, new: str, after: bytes) -> None:
    assert edited(data, old, new) == after


@given(st.text("ab\n\r", max_size=30), st.text("ab\n\r", min_size=1, max_size=4), st.text("ab\n", max_size=4))
def test_an_edit_changes_nothing_outside_of_it(text: str, old: str, new: str) -> None:
    file = readings(text.encode())[0]
    try:
        edit = replace(file, old, new)
    except NoEdit:
        return
    if edit is not None:
        assert edit.text[: edit.start] == text[: edit.start]
        rest = edit.text[edit.end :]
        assert text.endswith(rest)
        taken = text[edit.start : len(text) - len(rest)]
        assert taken.replace("\r", "") == old.replace("\r", "")


def test_edited_lines_are_shown_with_their_numbers() -> None:
    text = "".join(f"line {n}\n" for n in range(1, 11))
    start = text.index("line 5")
    shown = show(text, start, start + len("line 5"))
    assert shown.splitlines() == [f"{n:>6}\tline {n}" for n in range(2, 9)]


def test_a_deletion_at_the_end_shows_what_is_left() -> None:
    assert show("a\nb\n", 4, 4) == "     1\ta\n     2\tb"


def test_a_long_edit_and_a_long_line_are_cut() -> None:
    shown = show("x" * 10_000 + "\n" + "y\n" * 1000, 0, 12_000)
    assert len(shown) < 3000
    assert "more characters]" in shown
    assert "lines ...]" in shown


@pytest.mark.parametrize(
    ("text", "old", "said"),
    [
        ("def f():\n\treturn 1\n", "def f():\n    return 1\n", 'line 2 the file has "\\treturn 1" where'),
        ("if x :\n    pass\n", "if x:", "at line 1"),
        ("a\nb\n", "a\\nb", "send real line breaks"),
        ("alpha\nbeta\n", "     1\talpha\n     2\tbeta", "leave them out"),
        ("one\ntwo\nthree\n", "two\nfour", "first line is at line 2"),
        ("def compute_total(items):\n    pass\n", "def compute_totals(items):", "nearest line is line 1"),
        ("nothing like it\n", "zzzz", ""),
        ("", "zzzz", ""),
        ("\n\n", "   ", ""),
    ],
)
def test_a_miss_names_the_likeliest_slip(text: str, old: str, said: str) -> None:
    found = hint(text, old)
    assert said in found
    assert bool(found) == bool(said)
