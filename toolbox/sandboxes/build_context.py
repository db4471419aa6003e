"""What a build is given: the files of a folder that its .dockerignore leaves, their hash and their tar."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from docker.utils.build import exclude_paths

from envfarm.toolbox.sandboxes.dockerfile import mode_of


def names(context: Path, dockerfile: str) -> list[str]:
    """The files, links and folders that the context's .dockerignore leaves, sorted."""
    ignore = context / ".dockerignore"
    patterns = ["**/__pycache__"]
    if ignore.is_file():
        lines = [line.strip() for line in ignore.read_text(encoding="utf-8").splitlines()]
        patterns += [line for line in lines if line and not line.startswith("#")]
    return sorted(name for name in exclude_paths(str(context), patterns, dockerfile) if name)


def add_to_hash(sha: Any, context: Path, names: Sequence[str]) -> None:
    """Feed a hash with names, contents and execute bits."""
    for name in names:
        path = context / name
        if path.is_symlink():
            kind, content = "link", os.readlink(path).encode()
        elif path.is_dir():
            kind, content = "folder", b""
        else:
            kind = "executable" if os.access(path, os.X_OK) else "file"
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        sha.update(json.dumps([name, kind, len(content)]).encode() + content)


def pack(
    context: Path,
    names: Sequence[str],
    target: IO[bytes],
    *,
    extra: Mapping[str, str],
    modes: Sequence[tuple[str, int]],
) -> None:
    """Write the context as a tar whose bytes depend on contents alone, which the engine's layer cache likes.

    `extra` is files that the folder lacks, `modes` globs and permission bits. The tar is left at its beginning.
    """
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            path = context / name
            entry = tarfile.TarInfo(name)
            entry.mode = mode_of(name, path.is_dir() or os.access(path, os.X_OK), modes)
            if path.is_symlink():
                entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
                tar.addfile(entry)
            elif path.is_dir():
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            else:
                entry.size = path.stat().st_size
                with path.open("rb") as file:
                    tar.addfile(entry, file)
        for name, text in extra.items():
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode_of(name, False, modes)
            tar.addfile(entry, io.BytesIO(data))
    target.seek(0)
