"""A line is found however it is packed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable

import pytest

from envfarm.tasks.factory.packed import find

LINE = b"return left + right  # the fix"
TEXT = b"def add(left, right):\n    " + LINE + b"\n"


def _tar(data: bytes, mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as bundle:  # type: ignore[call-overload]
        info = tarfile.TarInfo("package/adder.py")
        info.size = len(data)
        bundle.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _zip(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("package/adder.py", data)
    return buffer.getvalue()


PACKERS: list[Callable[[bytes], bytes]] = [
    gzip.compress,
    bz2.compress,
    lzma.compress,
    _zip,
    lambda data: _tar(data, "w:gz"),
    lambda data: _tar(data, "w:xz"),
    lambda data: _zip(_tar(data, "w:gz")),
    lambda data: _tar(_zip(data)),
]


@pytest.mark.parametrize("pack", PACKERS, ids=["gz", "bz2", "xz", "zip", "tgz", "txz", "tgz in zip", "zip in tar"])
def test_finds_a_line(pack: Callable[[bytes], bytes]) -> None:
    assert find(pack(TEXT), [b"something else", LINE]) == LINE
    assert find(pack(b"nothing of it"), [LINE]) is None


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04broken", b"\x1f\x8bbroken", gzip.compress(TEXT, mtime=0)[:-12], b"plain text"]
)
def test_what_is_broken_is_no_error(data: bytes) -> None:
    assert find(data, [b"not there"]) is None
