"""What an agent changed: two trees read from raw tars, compared by the farm, kept as one deterministic tar.

Trees come from hostile machines: nothing here is unpacked to disk, followed or executed.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import IO, Literal, TypeVar

T = TypeVar("T")

IGNORED = (
    *(".git", ".hg", ".svn", ".DS_Store", "*.swp"),
    *("__pycache__", "*.pyc", "*.pyo", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".coverage"),
    *(".tox", ".nox", ".venv", ".eggs", "*.egg-info", "*.dist-info", "*.egg-link", "node_modules", ".nyc_output"),
)
"""Names that are no part of a change, wherever they stand: version control, caches, what installers leave."""

BUILT = {"cargo": ("target",)}
"""By runner, further names of build products."""

MAX_TREE = 512 << 20  # bytes of tar that are read from a sandbox
MAX_ENTRIES = 200_000  # entries that a tree may have
MAX_FILES = 5_000  # files that a change may touch
MAX_BYTES = 32 << 20  # bytes that a change may write


class TooLarge(Exception):
    """A tree or a change over the limits above; the message says which."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file or a symbolic link of a tree. Of modes only the executable bit counts."""

    kind: Literal["file", "link"]
    data: bytes  # the content, or the link's target
    executable: bool = False


Tree = Mapping[str, Entry]


@dataclass(slots=True)
class Changes:
    """What to write and what to delete, by path from the repository's root, to get from one tree to another."""

    written: dict[str, Entry] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # path to why it is no part of the change
    problem: str | None = None  # why there is no change to be scored

    def __bool__(self) -> bool:
        return bool(self.written or self.deleted)


def ignored(path: str, names: tuple[str, ...] = ()) -> bool:
    """Whether any part of a path is one of IGNORED or of further names."""
    return any(fnmatchcase(part, glob) for part in path.split("/") for glob in (*IGNORED, *names))


def read_tree(tar: bytes, *, skip: tuple[str, ...] = (), left_out: dict[str, str] | None = None) -> dict[str, Entry]:
    """The files and links in a tar, by clean path; what is neither is noted in `left_out` with the reason.

    Empty folders do not count, as in git. Names that are not UTF-8 keep their bytes as lone surrogates.
    Raises TooLarge, ValueError (not a tar).
    """
    notes = left_out if left_out is not None else {}
    tree: dict[str, Entry] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:", errorlevel=2) as archive:
            for count, member in enumerate(archive):
                if count >= MAX_ENTRIES:
                    raise TooLarge(f"the tree has more than {MAX_ENTRIES:,} entries")
                _take(archive, member, tree, skip, notes, len(tar))
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise ValueError(f"not a tar: {error}") from None
    return tree


def _take(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    tree: dict[str, Entry],
    skip: tuple[str, ...],
    notes: dict[str, str],
    size: int,
) -> None:
    path = member.name.removeprefix("./").rstrip("/")
    if member.isdir() or not path or ignored(path, skip):
        return
    if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        notes[path] = "its name leads out of the repository"
    elif member.isfile() and member.size > size:
        notes[path] = "a sparse file"  # a few bytes that would unpack to any number
    elif member.isfile():
        tree[path] = Entry("file", _content(archive, member), bool(member.mode & 0o111))
    elif member.issym():
        tree[path] = Entry("link", member.linkname.encode("utf-8", "surrogateescape"))
    elif member.islnk():
        target = tree.get(member.linkname.removeprefix("./"))
        if target is None:
            notes[path] = "a hard link to a file outside the repository"
        else:
            tree[path] = target
    else:
        notes[path] = "neither a file nor a symbolic link"


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file: IO[bytes] | None = archive.extractfile(member)
    data = file.read() if file is not None else b""
    if len(data) != member.size:
        raise ValueError("not a tar: a file is cut short")
    return data


def compare(pristine: Mapping[str, T], tree: Tree, *, digest: Callable[[Entry], T]) -> Changes:
    """What makes `tree` of the tree whose entries have these digests.

    Over the limits `problem` says which, and nothing else is kept.
    """
    changes = Changes(
        written={path: entry for path, entry in sorted(tree.items()) if pristine.get(path) != digest(entry)},
        deleted=sorted(pristine.keys() - tree.keys()),
    )
    size = sum(len(entry.data) for entry in changes.written.values())
    if len(changes.written) + len(changes.deleted) > MAX_FILES:
        return Changes(problem=f"the change touches more than {MAX_FILES:,} files")
    if size > MAX_BYTES:
        return Changes(problem=f"the change writes {size >> 20} MiB, more than {MAX_BYTES >> 20}")
    return changes


def pack(changes: Changes) -> bytes:
    """A tar that is the same for the same change: `changes.json` and what was written, below `files/`."""
    about = {"deleted": changes.deleted, "left_out": changes.left_out, "problem": changes.problem}
    files = {"changes.json": Entry("file", json.dumps(about, sort_keys=True).encode())}
    files |= {f"files/{path}": entry for path, entry in sorted(changes.written.items())}
    return tar_of(files)


def unpack(data: bytes) -> Changes:
    """Undo `pack`."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        about = json.loads(_content(archive, archive.getmember("changes.json")))
        changes = Changes(deleted=about["deleted"], left_out=about["left_out"], problem=about["problem"])
        for member in archive:
            if (path := member.name.removeprefix("files/")) != member.name:
                if member.issym():
                    entry = Entry("link", member.linkname.encode("utf-8", "surrogateescape"))
                else:
                    entry = Entry("file", _content(archive, member), bool(member.mode & 0o111))
                changes.written[path] = entry
    return changes


def tar_of(files: Mapping[str, Entry], *, mtime: int = 0) -> bytes:
    """A tar of files and links, owned by root; `mtime` in seconds since the epoch."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in files.items():
            member = tarfile.TarInfo(path)
            member.mtime = mtime
            if entry.kind == "link":
                member.type, member.mode = tarfile.SYMTYPE, 0o777
                member.linkname = entry.data.decode("utf-8", "surrogateescape")
                archive.addfile(member)
            else:
                member.size, member.mode = len(entry.data), 0o755 if entry.executable else 0o644
                archive.addfile(member, io.BytesIO(entry.data))
    return buffer.getvalue()
