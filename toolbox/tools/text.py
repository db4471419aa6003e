"""Bytes from a sandbox as text for a model.

Output is read as UTF-8. A byte that is not UTF-8, and NUL, which JSON stores refuse, is written as `\\xNN`.
"""

from __future__ import annotations


def decode(data: bytes) -> str:
    """Bytes as text; what is not UTF-8, and NUL, as `\\xNN`."""
    return data.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def cut_text(data: bytes, cut_at: int, total: int, note: str | None = None) -> str:
    """An output whose middle is missing: says where and how much, and `note` where the whole is.

    `total` is in bytes. A character that the cut split counts as missing.
    """
    head, tail = _whole_end(data[:cut_at]), _whole_start(data[cut_at:])
    missing = total - len(head) - len(tail)
    where = f"; {note}" if note else ""
    return f"{decode(head)}\n[... {missing} of {total} bytes cut here{where} ...]\n{decode(tail)}"


def _whole_end(data: bytes) -> bytes:
    """Without a last character that is not all there."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if 0xC2 <= byte <= 0xF4:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data if back >= length else data[:-back]
        if byte < 0x80:
            break
    return data


def _whole_start(data: bytes) -> bytes:
    """Without the continuation bytes of a first character that is not all there."""
    skip = 0
    while skip < min(3, len(data)) and 0x80 <= data[skip] < 0xC0:
        skip += 1
    return data[skip:]
