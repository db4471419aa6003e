"""What an agent changed, carried as data into a sandbox that it never touched, where its tests run.

The agent may be root and hostile, so the tar that its sandbox gives is taken for what it says the agent's own files
are, and nothing else: it is read here, outside of any sandbox, and only what cannot change who runs the tests (the
programs of the system, the loader, the start-up hooks of shells and interpreters) is let through.
"""

from __future__ import annotations

import dataclasses
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from envfarm.envs.carry_policy import ACCOUNTS, Policy, Tree
from envfarm.envs.tar import Member, members

CARRY_LIMIT = 256 << 20
"""Bytes of changes that a task may leave behind for its tests."""

BROKEN = "(tar)"
"""Stands among the refused paths for a tar that is empty or broken."""

_IDS = 2**32 - 1  # what chown takes, without the -1 that means "as it is"
_TIMES = 2**33  # what a tar's header can say
_PATH_MAX, _NAME_MAX = 4095, 255  # Linux's, in bytes
_DEPTH_MAX = 128
_COUNT_MAX = 200_000
_TYPES = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
}

Members = dict[str, Member]  # by absolute path, which a hard link's target is too


@dataclass
class Carried:
    """What goes into the untouched sandbox: first `remove` (absolute paths), then `tar` (unpacked at /)."""

    tar: bytes
    remove: list[str]
    refused: dict[str, str]  # path to why


def carry(source: bytes, present: Iterable[str], policy: Policy) -> Carried:
    """Sift the changes that an agent's sandbox gave: `source` is a tar of them, `present` every path that it has now.

    A tar that breaks off counts as far as it goes.
    """
    refused: dict[str, str] = {}
    found = _members(source, policy, refused, lambda path: path)
    removed = _deleted(present, policy, refused) | _replaced(found, policy.tree)
    return Carried(_pack(source, _placeable(found, removed, policy, refused)), _topmost(removed), refused)


def carry_artifacts(source: bytes, rename: Callable[[str], str | None], policy: Policy) -> Carried:
    """Sift the artefacts that cross to a separate verifier: they replace what is at `policy.only`.

    `rename` gives a path its place in the verifier, None for what does not cross.
    """
    refused: dict[str, str] = {}
    found = _members(source, policy, refused, rename)
    removed = {path for path in policy.only or () if path in policy.tree} | _replaced(found, policy.tree)
    return Carried(_pack(source, _placeable(found, removed, policy, refused)), _topmost(removed), refused)


def _members(source: bytes, policy: Policy, refused: dict[str, str], rename: Callable[[str], str | None]) -> Members:
    """Members that the policy lets through; of two with one name the last."""
    found: Members = {}
    count = 0
    try:
        for member in members(source, joined=True):
            count += 1
            if count > _COUNT_MAX:
                raise ValueError(f"more than {_COUNT_MAX} entries")
            path = _absolute(member.name)
            if path is None or not _sane(member):
                refused[member.name[:_NAME_MAX]] = "it is no file, folder or link that can be carried"
            elif path != "/" and (path := rename(path)) is not None and _goes(path, member, policy, refused, source):
                link = rename(_absolute(member.link) or "/") or "/" if member.kind == "hard link" else member.link
                found.pop(path, None)
                found[path] = dataclasses.replace(member, link=link)
    except ValueError as error:
        refused[BROKEN] = f"the sandbox's tar is broken: {error}"
    if not count:
        refused.setdefault(BROKEN, "the sandbox's tar is empty")
    return found


def _goes(path: str, member: Member, policy: Policy, refused: dict[str, str], source: bytes) -> bool:
    why = policy.refusal(path, folder=member.kind == "folder")
    if why is None and path in ACCOUNTS:
        why = policy.turned(path, member.data(source) if member.kind == "file" else None)
    if why is not None and not _merges(path, member, policy.tree):  # its entries changed, which is told of them
        refused[path] = why
    return why is None


def _sane(member: Member) -> bool:
    """Whether a member can be written as it is; a hostile one makes a tar that breaks what unpacks it."""
    if member.kind not in _TYPES or member.parts is not None or member.uid >= _IDS or member.gid >= _IDS:
        return False
    for name in (member.name, member.link):
        parts = name.encode("utf-8", "surrogateescape").split(b"/")
        if sum(map(len, parts)) + len(parts) > _PATH_MAX or len(parts) > _DEPTH_MAX or max(map(len, parts)) > _NAME_MAX:
            return False
    return bool(member.link) or member.kind in ("file", "folder", "fifo")


def _pack(source: bytes, placed: Members) -> bytes:
    """A tar of these members: owners by number, no extended headers."""
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as out:
            for path, member in placed.items():
                plain = tarfile.TarInfo(path.lstrip("/"))
                plain.type, plain.mode, plain.uid, plain.gid = _TYPES[member.kind], member.mode, member.uid, member.gid
                plain.mtime = member.mtime if member.mtime < _TIMES else 0
                plain.linkname = member.link.lstrip("/") if member.kind == "hard link" else member.link
                if member.kind == "link":
                    out.addfile(plain)
                    continue
                plain.size = member.size if member.kind == "file" else 0
                out.addfile(plain, io.BytesIO(member.data(source)) if member.kind == "file" else None)
        file.seek(0)
        return file.read()


def _absolute(name: str) -> str | None:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts else "/" + "/".join(parts)


def _parents(path: str) -> Iterator[str]:
    """The folders on the way to a path, the nearest first, without the root."""
    while (at := path.rfind("/")) > 0:
        path = path[:at]
        yield path


def _deleted(present: Iterable[str], policy: Policy, refused: dict[str, str]) -> set[str]:
    left = set(present)
    removed: set[str] = set()
    for path in (*policy.tree.directories, *policy.tree.links, *policy.tree.files):
        if path in left or path == "/":
            continue
        why = policy.refusal(path, folder=path in policy.tree.directories)
        if why is None:
            removed.add(path)
        elif why != "it is the farm's":
            refused[path] = f"deleted; {why}"
    # A folder that keeps something which is not to be deleted stays.
    for path in refused:
        removed.difference_update(_parents(path))
    return removed


def _replaced(found: Members, tree: Tree) -> set[str]:
    """What is in the way of a member: anything but a folder where a folder goes."""
    return {path for path, member in found.items() if path in tree and not _merges(path, member, tree)}


def _merges(path: str, member: Member, tree: Tree) -> bool:
    return member.kind == "folder" and path in tree.directories


def _placeable(found: Members, removed: set[str], policy: Policy, refused: dict[str, str]) -> Members:
    """Members that land where their name says: no link leads elsewhere on the way, hard links stay among them."""
    folders = {path for path in policy.tree.directories if path not in removed}
    for root in policy.only or ():
        folders.update(parent for parent in _parents(root) if parent not in policy.tree)
    folders |= {path for path, member in found.items() if member.kind == "folder"}
    folders -= {path for path, member in found.items() if member.kind != "folder"}
    placed: Members = {}
    # Folders before what is in them, hard links after what they share.
    for path, member in sorted(found.items(), key=lambda item: (item[1].kind == "hard link", item[0].count("/"))):
        if any(parent not in folders for parent in _parents(path)):
            refused[path] = "its folder is not there"
        elif member.kind == "hard link" and not (member.link in placed and placed[member.link].kind == "file"):
            refused[path] = "it is a hard link to what is not carried over"
        else:
            placed[path] = member
    return placed


def _topmost(paths: set[str]) -> list[str]:
    """Paths that are not below another one of them."""
    return sorted(path for path in paths if not any(parent in paths for parent in _parents(path)))
