"""A change as people read it: a unified diff in git's form."""

from __future__ import annotations

import difflib
import hashlib

from envfarm.envs.changes import Changes, Entry, Tree

MAX_LINES = 4_000  # of either side of a file; difflib's time grows with the square of it
MAX_DIFF = 4 << 20  # bytes of the whole


def unified(changes: Changes, pristine: Tree) -> bytes:
    """The diff of every file that a change touches; binary and very long files are named with their digests."""
    parts: list[bytes] = []
    size = 0
    for path in sorted({*changes.written, *changes.deleted}):
        part = _file(path, pristine.get(path), changes.written.get(path))
        size += len(part)
        if size > MAX_DIFF:
            parts.append(b"# the rest is left out: the diff is longer than 4 MiB\n")
            break
        parts.append(part)
    notes = [f"# left out: {_quoted('', path)}: {why}\n".encode() for path, why in list(changes.left_out.items())[:100]]
    if changes.problem:
        notes.append(f"# {changes.problem}\n".encode())
    return b"".join(parts + notes)


def _file(path: str, old: Entry | None, new: Entry | None) -> bytes:
    before, after = _quoted("a/", path), _quoted("b/", path)
    head = [f"diff --git {before} {after}"]
    if old is None and new is not None:
        head.append(f"new file mode {_mode(new)}")
    elif new is None and old is not None:
        head.append(f"deleted file mode {_mode(old)}")
    elif old is not None and new is not None and _mode(old) != _mode(new):
        head += [f"old mode {_mode(old)}", f"new mode {_mode(new)}"]
    names = ("/dev/null" if old is None else before, "/dev/null" if new is None else after)
    one, two = old.data if old else b"", new.data if new else b""
    body = b"" if one == two else _body(one, two, *names)
    return "\n".join(head).encode() + b"\n" + body


def _body(one: bytes, two: bytes, before: str, after: str) -> bytes:
    too_long = max(one.count(b"\n"), two.count(b"\n")) > MAX_LINES or max(len(one), len(two)) > 1 << 20
    if b"\0" in one or b"\0" in two or too_long:
        kind = "Long" if too_long else "Binary"
        return f"{kind} files {before} ({_digest(one)}) and {after} ({_digest(two)}) differ\n".encode()
    lines = difflib.diff_bytes(
        difflib.unified_diff, _lines(one), _lines(two), before.encode(), after.encode(), lineterm=b"\n"
    )
    return b"".join(line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n" for line in lines)


def _lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _mode(entry: Entry) -> str:
    return "120000" if entry.kind == "link" else "100755" if entry.executable else "100644"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()[:12]}"


def _quoted(prefix: str, path: str) -> str:
    """A path as git writes it: in quotes with octal escapes when it has anything but plain characters."""
    raw = (prefix + path).encode("utf-8", "surrogateescape")
    if all(32 < byte < 127 and byte not in b'"\\' for byte in raw):
        return raw.decode()
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in raw) + '"'
