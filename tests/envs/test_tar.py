"""Tars that tar and Python made, and tars that were made to harm."""

from __future__ import annotations

import contextlib
import io
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from envfarm.envs.tar import members


def tar(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member, data in entries:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def raw(kind: bytes, size: bytes, body: bytes = b"", **fields: object) -> bytes:
    """One header whose size field is what is given, with a right sum."""
    block = bytearray(info("a", kind, **fields).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block) + body + b"\0" * (-len(body) % 512)


def pax(records: bytes) -> bytes:
    return raw(b"x", f"{len(records):011o}\0".encode(), records)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_what_python_writes_is_read(form):
    long = f"{'d' * 90}/{'e' * 90}"
    data = tar(
        (info("a", mode=0o4755, uid=3, gid=4, mtime=5), b"x" * 700),
        (info(long), b"y"),
        (info("l", tarfile.SYMTYPE, linkname="a"), b""),
        (info("h", tarfile.LNKTYPE, linkname="a"), b""),
        (info("d", tarfile.DIRTYPE), b""),
        (info("p", tarfile.FIFOTYPE), b""),
        form=form,
    )
    one, two, *rest = members(data)
    assert (one.name, one.mode, one.uid, one.gid, one.mtime) == ("a", 0o4755, 3, 4, 5)
    assert one.data(data) == b"x" * 700
    assert (two.name, two.data(data)) == (long, b"y")
    assert [(m.name, m.kind, m.link) for m in rest] == [
        ("l", "link", "a"),
        ("h", "hard link", "a"),
        ("d/", "folder", ""),
        ("p", "fifo", ""),
    ]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_any_length_and_bytes_are_read(form):
    name = "é/" * 200 + b"\xff".decode("utf-8", "surrogateescape")
    data = tar((info(name, tarfile.SYMTYPE, linkname=name, mtime=-5), b""), form=form)
    assert [(member.name, member.link) for member in members(data)] == [(name, name)]


def test_a_file_with_holes_from_gnu_tar_is_read(tmp_path: Path):
    with (tmp_path / "holes").open("wb") as file:
        for number in range(30):  # more pieces than one header holds
            file.seek(number * 65536)
            file.write(b"%d" % number)
        file.truncate(2 << 20)
    data = subprocess.run(["tar", "-c", "--sparse", "holes"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert len(data) < 1 << 20
    assert [member.data(data) for member in members(data)] == [(tmp_path / "holes").read_bytes()]


def test_holes_of_pax_are_no_file(tmp_path: Path):
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 20)
    command = ["tar", "-c", "--sparse", "--format=posix", "holes"]
    data = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    assert [(member.name, member.kind) for member in members(data)] == [("holes", "sparse")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 2000,
        tar((info("a"), b"x" * 4000))[:1500],
        tar((info("a"), b"x" * 512))[:1024],  # no end
        raw(b"0", b"\xff" * 11 + b"\x00"),  # a size that leads backwards
        raw(b"0", b"\x80" + b"\xff" * 11),
        raw(b"0", b"-0000000001\0"),
        raw(b"0", b"0000_000010\0"),
        raw(b"L", b"77777777777\0"),
        raw(b"x", b"00000000003\0", b"9 a"),
        pax(b"13 size=-1536\n") + raw(b"0", b"00000000000\0"),
        pax(b"11 size=1e9\n") + raw(b"0", b"00000000000\0"),
        pax(b"30 size=%s\n" % (b"9" * 21)) + raw(b"0", b"00000000000\0"),
        pax(b"12 path=a\0b\n") + raw(b"0", b"00000000000\0") + b"\0" * 1024,
        pax(b"0 path=a\n") * 2,
        pax(b"9" * 100_000),
        raw(b"S", b"00000000000\0") * 2,
        raw(b"x", b"00000000000\0") * 5000,  # a chain
    ],
)
def test_what_is_no_whole_tar_is_a_value_error(data):
    with pytest.raises(ValueError, match="not a tar"):
        list(members(data))


def test_a_tar_that_breaks_off_is_read_up_to_there():
    found = members(tar((info("a"), b"x"), (info("b"), b"y" * 900))[:2000])
    assert next(found).name == "a"
    with pytest.raises(ValueError, match="cut short"):
        next(found)


def test_what_follows_the_end_counts_only_when_tars_are_joined():
    two = tar((info("a"), b"x")) + tar((info("b"), b"y"))
    assert [member.name for member in members(two)] == ["a"]
    assert [member.name for member in members(two, joined=True)] == ["a", "b"]
    with pytest.raises(ValueError, match="cut short"):
        list(members(b"", joined=True))


@pytest.mark.parametrize("seed", range(200))
def test_broken_bytes_are_a_value_error_and_nothing_worse(seed):
    rng = random.Random(seed)
    data = bytearray(tar((info("a" * 150), b"x" * 600), (info("b"), b"y"), form=tarfile.PAX_FORMAT))
    header = rng.choice([0, 1, 2, 5]) * 512
    for _ in range(3):
        data[header + rng.randrange(512)] = rng.randrange(256)
    data[header + 148 : header + 156] = b" " * 8
    data[header + 148 : header + 156] = f"{sum(data[header : header + 512]):06o}\0 ".encode()
    found = []
    with contextlib.suppress(ValueError):
        found += members(bytes(data))
    assert all(len(member.data(bytes(data))) == member.size for member in found if member.size < 1 << 20)
