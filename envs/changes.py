"""What an agent changed: two trees read from raw tars, compared by the farm, kept as one deterministic tar.

Trees come from hostile machines: nothing here is unpacked to disk, followed or executed.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from typing import Literal, TypeVar

from envfarm.envs.tar import Member, members

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
MAX_PATH, MAX_PART, MAX_DEPTH = 4096, 255, 128  # bytes of a path and of its parts, and how many those are


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
    match = _any_of((*IGNORED, *names)).match
    return any(match(part) for part in path.split("/"))


@lru_cache
def _any_of(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, globs)))


def read_tree(tar: bytes, *, skip: tuple[str, ...] = (), left_out: dict[str, str] | None = None) -> dict[str, Entry]:
    """The files and links in a tar, by clean path; what is neither is noted in `left_out` with the reason.

    Empty folders do not count, as in git. Names that are not UTF-8 keep their bytes as lone surrogates.
    Raises TooLarge, ValueError (not a tar).
    """
    notes = left_out if left_out is not None else {}
    tree: dict[str, Entry] = {}
    room = MAX_TREE  # a few bytes can say that they unpack to any number
    for count, member in enumerate(members(tar)):
        if count >= MAX_ENTRIES:
            raise TooLarge(f"the tree has more than {MAX_ENTRIES:,} entries")
        path = member.name.removeprefix("./").rstrip("/")
        if member.kind == "folder" or not path:
            continue
        if (why := _unfit(path, member.link if member.kind == "link" else None)) is not None:
            notes[path[:200]] = why
        elif not ignored(path, skip):
            if member.kind == "file" and member.size > room:
                notes[path] = "a sparse file"
                continue
            room -= _take(tar, member, path, tree, notes)
    return tree


def _unfit(path: str, link: str | None) -> str | None:
    """Why what is called so cannot be laid into a repository."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "its name leads out of the repository"
    if len(parts) > MAX_DEPTH or _bytes(path) >= MAX_PATH or any(_bytes(part) > MAX_PART for part in parts):
        return "its name is too long"
    if link is not None and not 0 < _bytes(link) < MAX_PATH:
        return "a symbolic link that leads nowhere"
    return None


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _take(tar: bytes, member: Member, path: str, tree: dict[str, Entry], notes: dict[str, str]) -> int:
    """Add a member to the tree, or a note; how many bytes it has."""
    if member.kind == "file":
        tree[path] = Entry("file", member.data(tar), bool(member.mode & 0o111))
        return member.size
    if member.kind == "link":
        tree[path] = Entry("link", member.link.encode("utf-8", "surrogateescape"))
    elif member.kind == "hard link":
        target = tree.get(member.link.removeprefix("./"))
        if target is None:
            notes[path] = "a hard link to a file outside the repository"
        else:
            tree[path] = target
    else:
        notes[path] = "a sparse file" if member.kind == "sparse" else "neither a file nor a symbolic link"
    return 0


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
    first, *rest = members(data)
    about = json.loads(first.data(data))
    changes = Changes(deleted=about["deleted"], left_out=about["left_out"], problem=about["problem"])
    for member in rest:
        _take(data, member, member.name.removeprefix("files/"), changes.written, {})
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
