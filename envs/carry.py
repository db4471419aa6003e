"""What an agent changed, carried as data into a sandbox that it never touched, where its tests run.

The agent may be root and hostile, so the tar that its sandbox gives is taken for what it says the agent's own files
are, and nothing else: it is read here, outside of any sandbox, and only what cannot change who runs the tests (the
programs of the system, the loader, the start-up hooks of shells and interpreters) is let through.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from envfarm.envs.carry_policy import Policy, Tree

CARRY_LIMIT = 256 << 20
"""Bytes of changes that a task may leave behind for its tests."""

_IDS = 2**32 - 1  # what chown takes, without the -1 that means "as it is"
_TIMES = 2**33  # what a tar's header can say
_PATH_MAX, _NAME_MAX = 4096, 255  # Linux's


Members = dict[str, tarfile.TarInfo]


@dataclass
class Carried:
    """What goes into the untouched sandbox: first `remove` (absolute paths), then `tar` (unpacked at /)."""

    tar: bytes
    remove: list[str]
    refused: dict[str, str]  # path to why


def carry(source: BinaryIO, present: Iterable[str], policy: Policy) -> Carried:
    """Sift the changes that an agent's sandbox gave: `source` is a tar of them, `present` every path that it has now.

    A tar that breaks off counts as far as it goes.
    """
    refused: dict[str, str] = {}
    members = _members(source, policy, refused, lambda path: path)
    removed = _deleted(present, policy, refused) | _replaced(members, policy.tree)
    return Carried(_pack(source, _placeable(members, removed, policy, refused)), _topmost(removed), refused)


def carry_artifacts(source: BinaryIO, rename: Callable[[str], str | None], policy: Policy) -> Carried:
    """Sift the artefacts that cross to a separate verifier: they replace what is at `policy.only`.

    `rename` gives a path its place in the verifier, None for what does not cross.
    """
    refused: dict[str, str] = {}
    members = _members(source, policy, refused, rename)
    removed = {path for path in policy.only or () if path in policy.tree} | _replaced(members, policy.tree)
    return Carried(_pack(source, _placeable(members, removed, policy, refused)), _topmost(removed), refused)


def _members(source: BinaryIO, policy: Policy, refused: dict[str, str], rename: Callable[[str], str | None]) -> Members:
    """Members that the policy lets through, by absolute path; of two with one name the last."""
    members: Members = {}
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    try:
        with tarfile.open(fileobj=source, mode="r:") as tar:
            for member in tar:
                if not member.name.strip("./"):
                    continue  # the root itself
                path = _absolute(member.name)
                if path is None or not _sane(member, size):
                    refused[member.name] = "it is no file, folder or link that can be carried"
                    continue
                if (path := rename(path)) is None:
                    continue
                if (why := policy.refusal(path, folder=member.isdir())) is not None:
                    if not _merges(path, member, policy.tree):  # its entries changed, which is told of them
                        refused[path] = why
                    continue
                if member.islnk():
                    member.linkname = rename(_absolute(member.linkname) or "/") or "/"
                members.pop(path, None)
                members[path] = member
    except (tarfile.TarError, ValueError, OverflowError, RecursionError):
        refused["(tar)"] = "the sandbox's tar is broken"
    return members


def _sane(member: tarfile.TarInfo, size: int) -> bool:
    """Whether a member can be written as it is; a hostile one makes a tar that breaks what unpacks it."""
    if member.sparse is not None or not 0 <= member.uid < _IDS or not 0 <= member.gid < _IDS:
        return False
    names = (member.name, member.linkname)
    if any(len(name) > _PATH_MAX or any(len(part.encode("utf-8", "surrogateescape")) > _NAME_MAX
                                        for part in name.split("/")) for name in names):  # fmt: skip
        return False
    if member.issym() or member.islnk():
        return bool(member.linkname)
    return member.isdir() or member.isfifo() or (member.isreg() and member.offset_data + member.size <= size)


def _pack(source: BinaryIO, members: Members) -> bytes:
    """A tar of these members, their data taken from the source."""
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as out:
            for path, member in members.items():
                if member.isreg():
                    source.seek(member.offset_data)
                out.addfile(_plain(path, member), source if member.isreg() else None)
        file.seek(0)
        return file.read()


def _plain(path: str, member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member without names of owners (their numbers count) and extended headers."""
    plain = tarfile.TarInfo(path.lstrip("/"))
    plain.type, plain.mode = member.type, member.mode & 0o7777
    plain.mtime = int(member.mtime) if 0 <= member.mtime < _TIMES else 0
    plain.uid, plain.gid, plain.linkname = member.uid, member.gid, member.linkname
    if member.isreg():
        plain.type, plain.size = tarfile.REGTYPE, member.size
    elif member.islnk():
        plain.linkname = member.linkname.lstrip("/")
    return plain


def _absolute(name: str) -> str | None:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if not parts or ".." in parts or "\0" in name else "/" + "/".join(parts)


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
        for parent in PurePosixPath(path).parents:
            removed.discard(str(parent))
    return removed


def _replaced(members: Members, tree: Tree) -> set[str]:
    """What is in the way of a member: anything but a folder where a folder goes."""
    return {path for path, member in members.items() if path in tree and not _merges(path, member, tree)}


def _merges(path: str, member: tarfile.TarInfo, tree: Tree) -> bool:
    return member.isdir() and path in tree.directories


def _placeable(members: Members, removed: set[str], policy: Policy, refused: dict[str, str]) -> Members:
    """Members that land where their name says: no link leads elsewhere on the way, hard links stay among them."""
    folders = {path for path in policy.tree.directories if path not in removed}
    for root in policy.only or ():
        folders |= {str(parent) for parent in PurePosixPath(root).parents if str(parent) not in policy.tree}
    folders |= {path for path, member in members.items() if member.isdir()}
    not_folders = {path for path, member in members.items() if not member.isdir()}
    placed: Members = {}
    # Folders before what is in them, hard links after what they share.
    for path, member in sorted(members.items(), key=lambda item: (item[1].islnk(), item[0].count("/"))):
        parents = [str(parent) for parent in PurePosixPath(path).parents if str(parent) != "/"]
        if any(parent not in folders or parent in not_folders for parent in parents):
            refused[path] = "its folder is not there"
            continue
        if member.islnk() and not (member.linkname in placed and placed[member.linkname].isreg()):
            refused[path] = "it is a hard link to what is not carried over"
            continue
        placed[path] = member
    return placed


def _topmost(paths: set[str]) -> list[str]:
    """Paths that are not below another one of them."""
    return sorted(path for path in paths if not any(str(parent) in paths for parent in PurePosixPath(path).parents))
