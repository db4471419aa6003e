"""Files that are there whole or not at all, whoever else writes them at the same time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

HALF = ".new-"
"""Begins the name of a file that is being written; a death leaves it."""


def write_whole(place: Path, fill: Callable[[int], None]) -> None:
    """Write a file by what `fill` puts into a descriptor, in a folder that is there. Raises OSError."""
    fd, name = tempfile.mkstemp(dir=place.parent, prefix=HALF)
    try:
        fill(fd)
        os.fsync(fd)
        os.replace(name, place)
    except BaseException:
        os.unlink(name)
        raise
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of some bytes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
