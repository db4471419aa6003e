"""Reading tars that may have been made to harm.

tarfile trusts what it reads: sizes that lead backwards, chains of headers, header texts that take quadratic time. This
reader goes once through the bytes and knows no more than GNU tar, busybox and Python write.

Format: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, appendix D.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from mmap import mmap
from typing import Literal

Kind = Literal["file", "folder", "link", "hard link", "fifo", "sparse", "other"]

BLOCK = 512
MAX_HEADER = 1 << 20  # bytes of a long name or of pax records
MAX_PARTS = 100_000  # pieces of data between the holes of one file

_KINDS: Mapping[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"5": "folder",
    b"2": "link",
    b"1": "hard link",
    b"6": "fifo",
}
_SIZELESS = (b"1", b"2", b"3", b"4", b"5", b"6")
_RECORDS = (b"path", b"linkpath", b"size", b"GNU.sparse.name")  # of pax's, those that count here
_FIELDS = (slice(100, 108), slice(108, 116), slice(116, 124), slice(136, 148))  # mode, uid, gid, mtime


@dataclass(frozen=True, slots=True)
class Member:
    """One entry. Names are as they are written; bytes that are not UTF-8 are lone surrogates."""

    name: str
    kind: Kind  # sparse: in a form that this module does not read
    mode: int
    uid: int
    gid: int
    mtime: int  # seconds since the epoch; may be negative, as other numbers of a hostile tar
    link: str  # target
    size: int  # bytes; for a file with holes more than it takes in the tar
    start: int  # where its data begins in the tar
    parts: tuple[tuple[int, int], ...] | None = None  # of a file with holes: where data goes, and how much

    def data(self, tar: bytes | mmap) -> bytes:
        """The content of a file; the caller has checked that `size` can be afforded."""
        if self.parts is None:
            return tar[self.start : self.start + self.size]
        content, at = bytearray(self.size), self.start
        for offset, count in self.parts:
            content[offset : offset + count] = tar[at : at + count]
            at += count
        return bytes(content)


def members(tar: bytes | mmap, *, joined: bool = False) -> Iterator[Member]:
    """The entries of a tar, in time and space that its length bounds; `joined`: of several, one behind the other.

    Raises ValueError for what is no whole tar, once the entries before that were given.
    """
    at, ended = 0, False
    longer: dict[bytes, bytes] = {}  # what earlier headers say of the next entry, by pax's names
    while True:
        header = tar[at : at + BLOCK]
        if ended and (not joined or not header):
            return
        if len(header) < BLOCK:
            raise ValueError("not a tar: it is cut short")
        ended = not any(header)
        if ended:
            at += BLOCK
            continue
        if _size(header[148:156]) != sum(header[:148]) + sum(header[156:]) + 8 * 0x20:
            raise ValueError("not a tar: a header's sum is wrong")
        at += BLOCK
        kind, size = header[156:157], _size(header[124:136])
        if kind in (b"L", b"K", b"x", b"g"):
            longer |= _extension(kind, tar[at : at + min(size, MAX_HEADER + 1)], size)
            at += _blocks(size)
            continue
        size = _decimal(longer[b"size"]) if b"size" in longer else size
        parts, at = _parts(tar, header, at) if kind == b"S" else (None, at)
        stored = 0 if kind in _SIZELESS else size
        if at + stored > len(tar):
            raise ValueError("not a tar: a file is cut short")
        yield _member(header, longer, at, size, parts)
        at += _blocks(stored)
        longer = {}


def _extension(kind: bytes, text: bytes, size: int) -> dict[bytes, bytes]:
    if len(text) != size:
        raise ValueError("not a tar: a header is cut short or too long")
    if kind == b"x":
        return _records(text)
    return {} if kind == b"g" else {b"path" if kind == b"L" else b"linkpath": text.partition(b"\0")[0]}


def _member(
    header: bytes, longer: Mapping[bytes, bytes], start: int, size: int, parts: tuple[tuple[int, int], ...] | None
) -> Member:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    name = longer.get(b"GNU.sparse.name") or longer.get(b"path") or (prefix + b"/" + name if prefix else name)
    link = longer.get(b"linkpath") or header[157:257].partition(b"\0")[0]
    if b"\0" in name or b"\0" in link:
        raise ValueError("not a tar: a name holds a NUL")
    kind: Kind = _KINDS.get(header[156:157], "other")
    if b"GNU.sparse" in longer:
        kind = "sparse"
    elif parts is not None:
        kind, stored, size = "file", size, _size(header[483:495])
        if sum(count for _, count in parts) != stored or any(sum(part) > size for part in parts):
            raise ValueError("not a tar: a file's holes are not where they can be")
    elif kind == "file" and name.endswith(b"/"):
        kind = "folder"
    mode, uid, gid, mtime = (_number(header[field]) for field in _FIELDS)
    return Member(_text(name), kind, mode & 0o7777, uid, gid, mtime, _text(link), size, start, parts)


def _parts(tar: bytes | mmap, header: bytes, at: int) -> tuple[tuple[tuple[int, int], ...], int]:
    """The map of an old GNU sparse file, and where its data begins: four entries, then 21 in each further block."""
    found: list[tuple[int, int]] = []
    block, first, count, more = header, 386, 4, 482
    while True:
        for place in range(first, first + 24 * count, 24):
            if block[place] != 0:
                found.append((_size(block[place : place + 12]), _size(block[place + 12 : place + 24])))
        if block[more] == 0:
            return tuple(found), at
        block, first, count, more = tar[at : at + BLOCK], 0, 21, 504
        at += BLOCK
        if len(block) < BLOCK or len(found) > MAX_PARTS:
            raise ValueError("not a tar: the map of a file's holes has no end")


def _records(text: bytes) -> dict[bytes, bytes]:
    """pax records that count here; each is `LENGTH KEY=VALUE` and a newline, and the length counts all of it."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(text):
        space = text.find(b" ", at, at + 20)
        end = at + _decimal(text[at:space]) if space > 0 else 0
        if not space < end <= len(text) or text[end - 1 : end] != b"\n":
            raise ValueError("not a tar: a pax record is broken")
        key, _, value = text[space + 1 : end - 1].partition(b"=")
        if key.startswith(b"GNU.sparse."):
            found[b"GNU.sparse"] = b""
        if key in _RECORDS:
            found[key] = value
        at = end
    return found


def _number(field: bytes) -> int:
    """Octal digits, or with the first bit set a binary number in two's complement."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big") - (256 ** (len(field) - 1) if field[0] == 0xFF else 0)
    text = field.partition(b"\0")[0].strip(b" ")
    if text and not all(0x30 <= digit <= 0x37 for digit in text):
        raise ValueError("not a tar: a number is none")
    return int(text or b"0", 8)


def _size(field: bytes) -> int:
    if (number := _number(field)) < 0:
        raise ValueError("not a tar: a size is negative")
    return number


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise ValueError("not a tar: a number is none")
    return int(text)


def _blocks(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK * BLOCK


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
