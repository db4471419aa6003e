"""Files addressed by the digest of their content: diffs, reports, logs, whole outputs, videos."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from envfarm.toolbox.errors import BadRequest, NotFound

_CHUNK = 1 << 20


class Artifacts:
    """A folder of content-addressed files, safe to share between processes.

    A digest is `sha256:` and 64 hex digits, as in the OCI image specification.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> str:
        """Keep bytes; returns their digest."""
        digest = hashlib.sha256(data).hexdigest()
        place = self._place(digest)
        if not place.exists():
            self._land(place, lambda fd: _write_all(fd, data))
        return f"sha256:{digest}"

    def put_file(self, path: Path) -> str:
        """Keep a copy of a file; returns its digest."""
        sha = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha.update(chunk)
        place = self._place(sha.hexdigest())
        if not place.exists():

            def copy(fd: int) -> None:
                with path.open("rb") as file:
                    while chunk := file.read(_CHUNK):
                        _write_all(fd, chunk)

            self._land(place, copy)
        return f"sha256:{sha.hexdigest()}"

    def path(self, digest: str) -> Path:
        """Where a digest's file lies. Raises BadRequest (not a digest), NotFound."""
        place = self._place(_hex(digest))
        if not place.exists():
            raise NotFound(f"no artefact {digest}")
        return place

    def get(self, digest: str) -> bytes:
        """The bytes of a digest. Raises BadRequest (not a digest), NotFound."""
        return self.path(digest).read_bytes()

    def _place(self, digest: str) -> Path:
        return self.root / digest[:2] / digest

    def _land(self, place: Path, fill: Callable[[int], None]) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(dir=place.parent, prefix=".new-")
        try:
            fill(fd)
            os.fsync(fd)
            os.replace(name, place)
        except BaseException:
            os.unlink(name)
            raise
        finally:
            os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _hex(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or not all(c in "0123456789abcdef" for c in value):
        raise BadRequest(f"{digest!r} is not a digest: expected `sha256:` and 64 hex digits")
    return value
