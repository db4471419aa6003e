"""Opens files that may be compressed."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import IO, cast


def unpacked(path: Path) -> IO[bytes]:
    """A file's bytes, without bzip2's or gzip's compression where its name ends so."""
    match path.suffix.lower():
        case ".bz2":
            return bz2.open(path)
        case ".gz":
            return cast(IO[bytes], gzip.open(path))
        case _:
            return path.open("rb")
