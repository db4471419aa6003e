"""The folder of artefacts."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import BadRequest, NotFound, StorageError

LONG_AGO = 1e9
"""Seconds since the epoch."""


def age(artifacts: Artifacts, digest: str) -> None:
    os.utime(artifacts.path(digest), (LONG_AGO, LONG_AGO))


def sweep(artifacts: Artifacts, before: float) -> int:
    return sum(artifacts.drop(one, artifacts.idle(one, before), before) for one in artifacts.shelves())


def test_what_is_put_is_there_under_its_digest(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "artifacts")
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    small, large = artifacts.put(b"x"), artifacts.put_file(tmp_path / "file")
    assert small == "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert artifacts.put(b"x") == small
    assert artifacts.get(small) == b"x"
    assert artifacts.get(large) == b"x" * 3_000_000
    with pytest.raises(NotFound, match="no artefact"):
        artifacts.get(f"sha256:{'0' * 64}")
    with pytest.raises(BadRequest, match="64 hex digits"):
        artifacts.get("sha256:../../etc/passwd")


def test_the_size_of_files_counts_each_as_often_as_it_is_named(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    one, three = artifacts.put(b"1"), artifacts.put(b"333")
    assert artifacts.size([]) == 0
    assert artifacts.size([one, three, three, f"sha256:{'0' * 64}"]) == 7


def test_a_sweep_ends_what_nobody_has_put_for_long_and_what_was_never_whole(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    old, new, put_again = (artifacts.put(data) for data in (b"old", b"new", b"put again"))
    half = artifacts.path(old).parent / ".new-half"
    half.write_bytes(b"ol")
    os.utime(half, (LONG_AGO, LONG_AGO))
    for digest in (old, put_again):
        age(artifacts, digest)
    artifacts.put(b"put again")
    assert sweep(artifacts, LONG_AGO + 1) == 2
    assert not half.exists()
    assert [artifacts.get(digest) for digest in (new, put_again)] == [b"new", b"put again"]
    with pytest.raises(NotFound):
        artifacts.get(old)


def test_what_is_put_while_it_is_swept_stays(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    digest = artifacts.put(b"again and again")
    stop = threading.Event()

    def sweeper() -> None:
        while not stop.is_set():
            sweep(artifacts, LONG_AGO + 1)

    thread = threading.Thread(target=sweeper)
    thread.start()
    try:
        for _ in range(300):
            assert artifacts.put(b"again and again") == digest
            assert artifacts.get(digest) == b"again and again"
            age(artifacts, digest)
            time.sleep(0.0005)
    finally:
        stop.set()
        thread.join()


def test_a_folder_that_takes_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "artifacts").touch()
    artifacts = Artifacts(tmp_path / "artifacts")
    with pytest.raises(StorageError, match=r"artifacts takes no file \(Not a directory\)"):
        artifacts.put(b"data")
    with pytest.raises(StorageError):
        artifacts.put_file(tmp_path / "artifacts")
    (tmp_path / "artifacts").unlink()
    assert artifacts.get(artifacts.put(b"data")) == b"data"
