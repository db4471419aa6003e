"""A folder from a hostile sandbox is data: only plain files of it are served."""

from __future__ import annotations

import io
import tarfile

import pytest

from envfarm.envs.tar import members
from envfarm.envs.web.site import MAX_SITE, pack, sift


def tar(*entries: tuple[str, bytes | None, bytes, str]) -> bytes:
    """Entries as name, content, type and where a link leads."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data, kind, link in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(data or b"")
            info.uid, info.mode, info.mtime = 4242, 0o6777, 99
            archive.addfile(info, io.BytesIO(data or b""))
    return buffer.getvalue()


def plain(name: str, data: bytes = b"x") -> tuple[str, bytes, bytes, str]:
    return (name, data, tarfile.REGTYPE, "")


def test_plain_files_come_through_undated_and_nobodys() -> None:
    site = sift(tar(plain("./index.html", b"<p>"), plain("./img/a.svg"), ("./d", None, tarfile.DIRTYPE, "")), "/app")
    assert (site.problem, site.files, site.left_out) == (None, 2, {})
    found = {member.name: member for member in members(site.tar)}
    assert list(found) == ["img/a.svg", "index.html"]
    assert found["index.html"].data(site.tar) == b"<p>"
    assert {member.mode for member in found.values()} == {0o755}
    assert site.tar == pack({"index.html": (b"<p>", True), "img/a.svg": (b"x", True)})


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (("./link", None, tarfile.SYMTYPE, "/etc/passwd"), "not a regular file"),
        (("./hard", None, tarfile.LNKTYPE, "./index.html"), "not a regular file"),
        (("./pipe", None, tarfile.FIFOTYPE, ""), "not a regular file"),
        (("./../../etc/cron.d/x", b"x", tarfile.REGTYPE, ""), "cannot be served"),
        (("./a/../b", b"x", tarfile.REGTYPE, ""), "cannot be served"),
        (("./" + "n/" * 600 + "x", b"x", tarfile.REGTYPE, ""), "cannot be served"),
    ],
)
def test_what_is_not_plain_is_left_out_and_said(entry: tuple[str, bytes | None, bytes, str], why: str) -> None:
    site = sift(tar(plain("./index.html"), entry), "/app")
    assert site.files == 1
    [said] = site.left_out.values()
    assert why in said


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the agent left no file in /app"),
        (tar(("./d", None, tarfile.DIRTYPE, ""), plain("./.git/config")), "the agent left no file in /app"),
        (b"\xff" * 2048, "/app cannot be read"),
        (b"0" * (MAX_SITE + 1), "/app holds more than 64 MiB"),
    ],
)
def test_what_cannot_be_served_is_a_problem(data: bytes, problem: str) -> None:
    assert str(sift(data, "/app").problem).startswith(problem)
