"""The reader of a held stream, on whatever pieces the bytes arrive in."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envfarm.toolbox.sandboxes.stream import PREFIX, TOKEN, Capture, Reader

MINE = b"a" * TOKEN
OTHER = b"b" * TOKEN


def marker(token: bytes, kind: bytes, rest: bytes = b"0") -> bytes:
    return PREFIX + token + b":" + kind + b":" + rest + b"\n"


def collect(pieces: list[bytes]) -> tuple[bytes, list[tuple[int, bytes, bytes]]]:
    reader, seen = Reader(), []
    capture = reader.sinks[1] = Capture(None)
    reader.handlers[MINE] = lambda stream, kind, rest: seen.append((stream, kind, rest))
    for piece in pieces:
        reader.feed(1, piece)
    reader.flush(1)
    return capture.output().data, seen


@given(
    parts=st.lists(
        st.sampled_from(
            [
                b"text\n",
                b"\x00\xff",
                PREFIX,
                PREFIX[:2],
                b"\x1e",
                PREFIX + MINE[:5],
                marker(OTHER, b"e"),
                marker(MINE, b"e", b"7"),
            ]
        ),
        max_size=12,
    ),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_markers_are_found_in_any_pieces(parts: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(parts)
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges)]
    data, seen = collect(pieces)
    wanted = marker(MINE, b"e", b"7")
    assert data == whole.replace(wanted, b"")
    assert seen == [(1, b"e", b"7")] * whole.count(wanted)


def test_many_prefixes_are_output() -> None:
    noise = PREFIX * 50_000
    data, seen = collect([noise[:100_001], noise[100_001:], marker(MINE, b"e")])
    assert data == noise
    assert seen == [(1, b"e", b"0")]


class Pieces(Capture):
    """A capture that remembers in what pieces its bytes came."""

    def __init__(self) -> None:
        super().__init__(None)
        self.sizes: list[int] = []

    def add(self, data: bytes | memoryview) -> None:
        self.sizes.append(len(data))
        super().add(data)


@pytest.mark.parametrize("unit", [PREFIX, PREFIX + b"x:y\n", PREFIX + OTHER, PREFIX + OTHER + b":x:y\n", b"\x1e"])
def test_a_flood_of_false_markers_is_handed_over_in_one_piece(unit: bytes) -> None:
    reader, pieces = Reader(), Pieces()
    reader.sinks[1] = pieces
    noise = unit * (65536 // len(unit)) + b"."
    reader.feed(1, noise)
    reader.feed(1, noise)
    assert pieces.sizes == [len(noise)] * 2
    assert pieces.output().data == noise * 2


@given(
    parts=st.lists(
        st.sampled_from(
            [b"text\n", b"\n", PREFIX, PREFIX[:3], PREFIX + MINE, PREFIX + OTHER, PREFIX + MINE[:5], marker(MINE, b"e")]
        ),
        max_size=12,
    ),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_half_markers_read_the_same_in_any_pieces(parts: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(parts)
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    assert collect([whole[a:b] for a, b in itertools.pairwise(edges)]) == collect([whole])


def test_known_tokens_without_an_end_are_output() -> None:
    noise = (PREFIX + MINE) * 10_000
    data, seen = collect([noise[:100_001], noise[100_001:], b"." * 70_000, b"\n", marker(MINE, b"e")])
    assert data == noise + b"." * 70_000 + b"\n"
    assert seen == [(1, b"e", b"0")]


def test_markers_of_ours_that_nobody_waits_for_are_dropped() -> None:
    reader = Reader()
    capture = reader.sinks[2] = Capture(None)
    reader.authentic = lambda token: token == OTHER
    reader.feed(2, b"x" + marker(OTHER, b"a") + b"y")
    assert capture.output().data == b"xy"


@pytest.mark.parametrize("limit", [0, 1, 2, 7, 100])
@given(pieces=st.lists(st.binary(max_size=60), max_size=10))
def test_a_capture_keeps_head_and_tail(limit: int, pieces: list[bytes]) -> None:
    whole, capture = b"".join(pieces), Capture(limit)
    for piece in pieces:
        capture.add(piece)
    output = capture.output()
    assert output.total == len(whole)
    if len(whole) <= limit:
        assert (output.data, output.cut_at) == (whole, None)
    else:
        assert output.cut_at == limit // 2
        tail = limit - limit // 2
        assert output.data == whole[: limit // 2] + (whole[-tail:] if tail else b"")


@pytest.mark.parametrize("size", [1, 1000, 300_000])
def test_a_spool_holds_the_whole_whatever_pieces_it_came_in(size: int) -> None:
    whole = bytes(range(256)) * 1200
    capture = Capture(100, spool=True)
    for start in range(0, len(whole), size):
        capture.add(whole[start : start + size])
    spool = capture.output().spool
    assert spool is not None
    try:
        assert spool.read_bytes() == whole
    finally:
        capture.discard()
    assert not spool.exists()


def test_a_full_disk_costs_the_spool_alone(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    capture = Capture(100, spool=True)
    for _ in range(100):
        capture.add(b"x" * 99_999 + b"\n")
    output = capture.output()
    assert (output.total, output.cut_at, output.spool) == (10_000_000, 50, None)
    assert output.data == b"x" * 99 + b"\n"
    assert list(small_disk.iterdir()) == []
