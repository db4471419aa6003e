"""Telling two streams apart by the farm's markers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envfarm.toolbox.sandboxes import merged

TOKENS = st.sampled_from([b"0" * 24, b"1" * 24, b"ab" * 12])
MARKS = st.builds(
    lambda token, kind: b"\x1eef:%s:%s\n" % (token, kind), TOKENS, st.sampled_from([b"b", b"e:0", b"a:x"])
)
TEXT = st.binary(max_size=20).filter(lambda data: b"\x1e" not in data)


@given(st.lists(st.tuples(TEXT, MARKS)), TEXT)
def test_each_marker_goes_to_both_and_the_rest_to_stdout(parts: list[tuple[bytes, bytes]], last: bytes) -> None:
    both = b"".join(text + mark + mark for text, mark in parts) + last
    assert merged.split(both) == {
        1: b"".join(text + mark for text, mark in parts) + last,
        2: b"".join(mark for _, mark in parts),
    }


def test_markers_in_another_order_and_output_between() -> None:
    one, two = b"\x1eef:%s:b\n" % (b"1" * 24), b"\x1eef:%s:e:0\n" % (b"1" * 24)
    assert merged.split(one + b"a" + two + b"\n" + one + b"b\n" + two) == {1: one + b"a" + two + b"\nb\n", 2: one + two}


def test_what_only_looks_like_a_marker_stays_where_it_is() -> None:
    data = b"\x1eef:" + b"1" * 23 + b":b\n\x1eef:" + b"1" * 24
    assert merged.split(data) == {1: data, 2: b""}
