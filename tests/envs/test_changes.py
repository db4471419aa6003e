"""What an agent changed, read from trees that it may have made to harm."""

from __future__ import annotations

import io
import tarfile

import pytest

from envfarm.envs import changes as module
from envfarm.envs.changes import Changes, Entry, TooLarge, compare, ignored, pack, read_tree, tar_of, unpack


def file(data: bytes = b"x", executable: bool = False) -> Entry:
    return Entry("file", data, executable)


def digest(entry: Entry) -> Entry:
    return entry


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member, data in members:
            member.size = len(data) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, mode
    return member


def test_files_links_and_the_executable_bit_are_read():
    data = tar(
        (info("./a.py"), b"a"),
        (info("./run", mode=0o750), b"r"),
        (info("./l", tarfile.SYMTYPE, "a.py"), b""),
        (info("./h", tarfile.LNKTYPE, "./a.py"), b""),
        (info("./d/", tarfile.DIRTYPE), b""),
    )
    assert read_tree(data) == {
        "a.py": file(b"a"),
        "run": file(b"r", True),
        "l": Entry("link", b"a.py"),
        "h": file(b"a"),
    }


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (info("../../etc/cron.d/x"), "leads out"),
        (info("a/../../x"), "leads out"),
        (info("/etc/passwd"), "leads out"),
        (info("./fifo", tarfile.FIFOTYPE), "neither"),
        (info("./device", tarfile.CHRTYPE), "neither"),
        (info("./h", tarfile.LNKTYPE, "/etc/shadow"), "outside"),
        (info("n" * 256), "too long"),
        (info("a/" * 128 + "b"), "too long"),
        (info("/".join(["n" * 200] * 21)), "too long"),
        (info("./l", tarfile.SYMTYPE, "n" * 4096), "leads nowhere"),
        (info("./l", tarfile.SYMTYPE, ""), "leads nowhere"),
    ],
)
def test_what_is_no_file_of_the_repository_is_left_out_with_the_reason(member, why):
    notes: dict[str, str] = {}
    assert read_tree(tar((member, b"")), left_out=notes) == {}
    assert [why in text for text in notes.values()] == [True]


def test_names_that_are_no_utf8_survive_a_round_trip():
    name = b"caf\xe9.txt".decode("utf-8", "surrogateescape")
    tree = read_tree(tar((info(name), b"x")))
    assert tree == {name: file()}
    assert unpack(pack(Changes(written=tree))).written == tree


@pytest.mark.parametrize("data", [b"", b"hello", b"\0" * 100, tar_of({"a": file(b"x" * 4000)})[:1500]])
def test_what_is_no_tar_is_a_value_error(data):
    with pytest.raises(ValueError, match="not a tar"):
        read_tree(data)


def test_more_entries_than_the_limit_are_too_large(monkeypatch):
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    with pytest.raises(TooLarge, match="more than 3 entries"):
        read_tree(tar_of({str(number): file() for number in range(4)}))


def test_a_sparse_file_is_left_out():
    header = info("./huge")
    member = header.tobuf(tarfile.GNU_FORMAT)
    sparse = info("./huge")
    sparse.type, sparse.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"00000000000\0" + b"00000001000\0"
    block[483:495] = b"77777777777\0"  # the size that it claims: 8 GiB
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    notes: dict[str, str] = {}
    assert len(member) == 512
    assert read_tree(bytes(block) + b"x" * 512 + b"\0" * 1024, left_out=notes) == {}
    assert notes == {"huge": "a sparse file"}


def test_files_of_holes_are_left_out_once_they_would_fill_the_memory(monkeypatch):
    monkeypatch.setattr(module, "MAX_TREE", 1 << 20)
    entries = b""
    for name in "abc":
        block = bytearray(info(name, tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
        block[483:495] = f"{600 << 10:011o}\0".encode()
        block[148:156] = b" " * 8
        block[148:156] = f"{sum(block):06o}\0 ".encode()
        entries += block
    notes: dict[str, str] = {}
    assert read_tree(entries + b"\0" * 1024, left_out=notes) == {"a": file(b"\0" * (600 << 10))}
    assert notes == {"b": "a sparse file", "c": "a sparse file"}


def test_a_change_is_what_was_written_and_what_was_deleted():
    pristine = {"same": file(), "new text": file(), "new mode": file(), "gone": file(), "kind": file(b"t")}
    tree = {
        "same": file(),
        "new text": file(b"y"),
        "new mode": file(executable=True),
        "kind": Entry("link", b"t"),
        "added": file(),
    }
    changes = compare(pristine, tree, digest=digest)
    assert sorted(changes.written) == ["added", "kind", "new mode", "new text"]
    assert changes.deleted == ["gone"]
    assert not compare(pristine, pristine, digest=digest)


def test_a_change_over_the_limits_is_no_change(monkeypatch):
    monkeypatch.setattr(module, "MAX_FILES", 2)
    assert (
        compare({}, {name: file() for name in "abc"}, digest=digest).problem == "the change touches more than 2 files"
    )
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 20)
    changes = compare({}, {"a": file(b"x" * (2 << 20))}, digest=digest)
    assert changes.problem == "the change writes 2 MiB, more than 1"
    assert not changes


def test_packing_is_deterministic_and_undone_by_unpacking():
    changes = Changes({"b/c": file(b"\0\xff", True), "a": Entry("link", b"b/c")}, ["x y"], {"z": "why"}, None)
    assert unpack(pack(changes)) == changes
    again = Changes(dict(reversed(changes.written.items())), ["x y"], {"z": "why"}, None)
    assert pack(again) == pack(changes)


@pytest.mark.parametrize(
    "path", [".git/config", "a/__pycache__/b.pyc", "x.pyc", "node_modules/a/b.js", "x.egg-info/PKG"]
)
def test_caches_and_version_control_are_no_part_of_a_change(path):
    assert ignored(path)
    assert read_tree(tar_of({path: file()})) == {}


def test_a_runner_may_have_further_build_products():
    assert ignored("target/debug/x", ("target",))
    assert not ignored("target/debug/x")
    assert not ignored("src/git.py")
