"""Encodings of text files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envfarm.toolbox.tools.textfile import NotText, readings


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        (b"", "", "utf-8"),
        ("é\n".encode(), "é\n", "utf-8"),
        (b"\xef\xbb\xbfa\r\n", "a\r\n", "utf-8"),
        (b"caf\xe9\n", "café\n", "latin-1"),
        (b"\xff\xfea\0\n\0", "a\n", "utf-16-le"),
        (b"\xfe\xff\0a\0\n", "a\n", "utf-16-be"),
        (b"\xff\xfe\0\0a\0\0\0", "a", "utf-32-le"),
    ],
)
def test_a_file_is_read_in_its_encoding_and_written_back_exactly(data: bytes, text: str, encoding: str) -> None:
    file = readings(data)[0]
    assert (file.text, file.encoding) == (text, encoding)
    assert file.encode(file.text) == data


def test_utf8_with_stray_bytes_stays_utf8() -> None:
    file = readings("é".encode() + b"\xff")[0]
    assert file.encoding == "utf-8"
    assert file.encode(file.text + "→") == "é".encode() + b"\xff" + "→".encode()


@pytest.mark.parametrize("data", [b"\x7fELF\0\1", b"a\0b"])
def test_binary_files_are_refused(data: bytes) -> None:
    with pytest.raises(NotText):
        readings(data)


def test_a_character_that_the_encoding_lacks_is_named() -> None:
    with pytest.raises(ValueError, match=r"latin-1, which has no form for '→' \(U\+2192\)"):
        readings(b"caf\xe9")[0].encode("→")


@given(st.binary(max_size=200))
def test_every_reading_writes_back_the_same_bytes(data: bytes) -> None:
    try:
        files = readings(data)
    except NotText:
        return
    for file in files:
        assert file.encode(file.text) == data
