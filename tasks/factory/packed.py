"""Looks for lines inside archives and compressed files, and in those within them."""

from __future__ import annotations

import bz2
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence

_DEEPEST = 3
_LARGEST = 256 << 20  # bytes that one compressed file may unpack to before it is let be

_COMPRESSED: tuple[tuple[bytes, Callable[[], zlib._Decompress | bz2.BZ2Decompressor | lzma.LZMADecompressor]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lzma.LZMADecompressor),
)


def find(data: bytes, lines: Sequence[bytes], depth: int = 0) -> bytes | None:
    """The first of the lines that stands in `data` once it is unpacked; None when there is none."""
    for part in _parts(data):
        if found := next((line for line in lines if line in part), None):
            return found
        if depth < _DEEPEST and (found := find(part, lines, depth + 1)):
            return found
    return None


def _parts(data: bytes) -> Iterator[bytes]:
    """What a file holds when it is packed: each member of an archive, the content of a compressed file."""
    if data[:4] == b"PK\x03\x04":
        yield from _zip(data)
        return
    for magic, decompressor in _COMPRESSED:
        if data.startswith(magic):
            try:
                yield decompressor().decompress(data, _LARGEST)
            except (zlib.error, OSError, lzma.LZMAError, EOFError):
                return  # cut short or not what it says: nobody can read the fix out of it either
    if data[257:262] == b"ustar":
        yield from _tar(data)


def _zip(data: bytes) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            for info in bundle.infolist():
                if info.file_size < _LARGEST:
                    yield bundle.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error):
        return


def _tar(data: bytes) -> Iterator[bytes]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as bundle:
            for member in bundle:
                if file := bundle.extractfile(member):
                    yield file.read()
    except tarfile.TarError:
        return
