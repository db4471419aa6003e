"""The site that an agent built, as data: taken from its sandbox as a tar, and laid out anew from its plain files."""

from __future__ import annotations

import io
import shlex
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from envfarm.envs.take import taken
from envfarm.envs.tar import Member, members
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.sandboxes.base import Sandbox

MAX_SITE = 64 << 20  # bytes of tar
MAX_FILES = 20_000
MAX_PATH = 1024  # bytes

SKIPPED = (".git", ".cache", ".npm", "__pycache__", ".DS_Store")
"""Names that are no part of a site, wherever they stand."""


@dataclass(slots=True)
class Site:
    """What is served; `problem` says why there is nothing to serve."""

    tar: bytes = b""
    files: int = 0
    left_out: dict[str, str] = field(default_factory=dict)  # path to why it is no part of the site
    problem: str | None = None


async def take_site(sandbox: Sandbox, folder: str, artifacts: Artifacts) -> dict[str, str]:
    """A tar of the agent's folder, broken off after MAX_SITE bytes. Raises SandboxError."""
    excluded = " ".join(shlex.quote(f"--exclude={name}") for name in SKIPPED)
    command = f"cd {shlex.quote(folder)} && tar -c {excluded} -f - ."
    return {"site": await taken(sandbox, command, artifacts, MAX_SITE, folder)}


def sift(tar: bytes, folder: str) -> Site:
    """Only regular files of a tar that may have been made to harm, owned by nobody in particular and undated."""
    if len(tar) > MAX_SITE:
        return Site(problem=f"{folder} holds more than {MAX_SITE >> 20} MiB")
    site = Site()
    kept: dict[str, tuple[Member, bool]] = {}
    room = MAX_SITE
    try:
        for member in members(tar) if tar else ():
            path = member.name.removeprefix("./").rstrip("/")
            if member.kind == "folder" or not path or any(part in SKIPPED for part in path.split("/")):
                continue
            if (why := _unfit(path, member, room)) is not None:
                site.left_out[path[:200]] = why
                continue
            room -= member.size
            kept[path] = (member, bool(member.mode & 0o111))
            if len(kept) > MAX_FILES:
                return Site(problem=f"{folder} holds more than {MAX_FILES:,} files")
    except ValueError as error:
        return Site(problem=f"{folder} cannot be read: {error}")
    if not kept:
        site.problem = f"the agent left no file in {folder}"
        return site
    site.files = len(kept)
    site.tar = pack({path: (member.data(tar), executable) for path, (member, executable) in kept.items()})
    return site


def _unfit(path: str, member: Member, room: int) -> str | None:
    if any(part in ("", ".", "..") for part in path.split("/")) or len(path.encode(errors="replace")) > MAX_PATH:
        return "its name cannot be served"
    if member.kind != "file":
        return f"a {member.kind}, not a regular file" if member.kind != "other" else "not a regular file"
    if member.size > room:
        return f"the site would be larger than {MAX_SITE >> 20} MiB"
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return None


def pack(files: Mapping[str, tuple[bytes, bool]]) -> bytes:
    """A tar of files by path, each with whether it can be executed: the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for path in sorted(files):
            data, executable = files[path]
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), 0o755 if executable else 0o644
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
