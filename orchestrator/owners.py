"""Labels for the sandboxes of commands that come and go, so that what a killed one left is found and removed."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from envfarm.toolbox.sandboxes.base import Backend


@asynccontextmanager
async def owner(data: Path, use: str, backend: Backend) -> AsyncIterator[str]:
    """An owner that nobody else has while the block lasts; sandboxes that bear it are removed before and after.

    The next block of the same `use` in the same data folder takes it again, also after a `kill -9`.
    """
    label, lock = _claim(data, use)
    try:
        await backend.reap(label, keep=())
        try:
            yield label
        finally:
            await backend.reap(label, keep=())
    finally:
        os.close(lock)


def _claim(data: Path, use: str) -> tuple[str, int]:
    """The label of the first number whose lock file no living process holds, and the descriptor that holds it now."""
    data.mkdir(parents=True, exist_ok=True)
    place = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:8]
    number = 0
    while True:
        fd = os.open(data / f"{use}-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            number += 1
            continue
        return f"{use}-{place}-{number}", fd
