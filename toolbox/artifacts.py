"""Files addressed by the digest of their content: diffs, reports, logs, whole outputs, videos."""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from envfarm.toolbox.errors import BadRequest, NotFound, StorageError
from envfarm.toolbox.whole import HALF, write_all, write_whole

_CHUNK = 1 << 20


class Artifacts:
    """A folder of content-addressed files, safe to share between processes.

    A digest is `sha256:` and 64 hex digits, as in the OCI image specification.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> str:
        """Keep bytes; returns their digest. Raises StorageError."""
        digest = hashlib.sha256(data).hexdigest()
        self._land(self._place(digest), lambda fd: write_all(fd, data))
        return f"sha256:{digest}"

    def put_file(self, path: Path) -> str:
        """Keep a copy of a file; returns its digest. Raises StorageError."""
        sha = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha.update(chunk)

        def copy(fd: int) -> None:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    write_all(fd, chunk)

        self._land(self._place(sha.hexdigest()), copy)
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

    def size(self, digests: Iterable[str]) -> int:
        """The bytes of some files together, of each as often as it is named; one that is gone has none."""
        total = 0
        for digest in digests:
            with suppress(FileNotFoundError):
                total += self._place(_hex(digest)).stat().st_size
        return total

    def has(self, digests: Iterable[str]) -> bool:
        """Whether all of some files are there. Raises BadRequest (not a digest)."""
        return all(self._place(_hex(digest)).exists() for digest in digests)

    def _place(self, digest: str) -> Path:
        return self.root / digest[:2] / digest

    def shelves(self) -> list[str]:
        """The folders that the files lie in."""
        return sorted(one.name for one in self.root.glob("??") if one.is_dir())

    def idle(self, shelf: str, before: float) -> list[str]:
        """The digests of a shelf's files that nobody has put since a time, in seconds since the epoch."""
        places = (self.root / shelf).iterdir()
        return [f"sha256:{place.name}" for place in places if place.name[0] != "." and _since(place) < before]

    def drop(self, shelf: str, digests: Iterable[str], before: float) -> int:
        """End a shelf's files, but none that was put since a time; returns how many.

        Ends also what a death left of files half written.
        """
        gone = 0
        with _locked(self.root / shelf, fcntl.LOCK_EX):
            halves = (self.root / shelf).glob(f"{HALF}*")
            for place in [*(self._place(_hex(digest)) for digest in digests), *halves]:
                if _since(place) < before:
                    place.unlink()
                    gone += 1
        return gone

    def _land(self, place: Path, fill: Callable[[int], None]) -> None:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with _locked(place.parent, fcntl.LOCK_SH):  # a sweep must not end what was just found to be there
                try:
                    os.utime(place)
                except FileNotFoundError:
                    write_whole(place, fill)
        except OSError as error:
            raise StorageError(f"{self.root} takes no file ({error.strerror}): make room or mend it") from None


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)


def _since(place: Path) -> float:
    """When a file was last put; never, as it were, where another sweep was quicker."""
    try:
        return place.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _hex(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or not all(c in "0123456789abcdef" for c in value):
        raise BadRequest(f"{digest!r} is not a digest: expected `sha256:` and 64 hex digits")
    return value
