import io
import os
import random
import stat
import sys
import tarfile
import tempfile
import zipfile

sys.path.insert(0, "/tests")
from harness import check, main, run  # noqa: E402

MTIME = 1_500_000_000
MODES = {"tar": "w", "gzip": "w:gz", "bzip2": "w:bz2", "xz": "w:xz"}


def room():
    place = tempfile.mkdtemp(prefix="room-", dir="/tmp")
    os.chown(place, 65534, 65534)
    return place


def entry(name, data=None, link=None, kind=None, mode=0o644):
    """(tar header, content) of a file, a folder (no data), a symbolic link, or whatever `kind` says."""
    info = tarfile.TarInfo(name)
    info.mtime, info.mode = MTIME, mode
    if kind is not None:
        info.type, info.linkname = kind, link or ""
    elif link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, link
    elif data is None:
        info.type, info.mode = tarfile.DIRTYPE, mode
    else:
        info.size = len(data)
    return info, data or b""


def tar(*entries, form="tar"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=MODES[form], format=tarfile.PAX_FORMAT) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(*entries):
    """entries: (name, data, unix mode or None)"""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in entries:
            info = zipfile.ZipInfo("placeholder", (2017, 7, 14, 2, 40, 0))
            info.filename = name  # the constructor would cut and change names
            info.create_system = 0 if mode is None else 3
            info.external_attr = 0 if mode is None else mode << 16
            archive.writestr(info, data)
    return out.getvalue()


def unpack(data, name="upload", dest="out", before=None):
    place = room()
    path = f"{place}/{name}"
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, 0o644)
    if before is not None:
        before(f"{place}/{dest}")
        os.chown(f"{place}/{dest}", 65534, 65534)
    listed = set(os.listdir(place)) - {"out"}
    code, out, err = run(["/app/unpack", path, f"{place}/{dest}"], timeout=20, cwd=place)
    return code, out, err, f"{place}/{dest}", set(os.listdir(place)) - listed


def good(data, **how):
    code, out, err, dest, new = unpack(data, **how)
    assert (code, out) == (0, b""), (code, out, err)
    assert new == {"out"}, new
    return dest


def bad(data, status, what):
    code, out, err, dest, new = unpack(data)
    assert code == status, f"{what}: status {code}, not {status}: {err.decode()}"
    assert err, f"{what}: no message"
    assert not new or (new == {"out"} and not os.listdir(dest)), f"{what}: left {new}"


def read(*parts):
    with open(os.path.join(*parts), "rb") as file:
        return file.read()


TEXT = random.randbytes(3000)
ORDINARY = [
    entry("project", mode=0o755), entry("project/read me.txt", TEXT), entry("project/-rf", b""),
    entry("project/empty", mode=0o700), entry("project/bin/tool", b"#!/bin/sh\necho hi\n", mode=0o755),
    entry("project/naïve ☃", b"snow"), entry("./project/dot", b"."), entry("project/shared", b"s", mode=0o4777),
    entry("project/locked", b"l", mode=0), entry("project/latest", link="bin/tool"),
    entry("project/bin/up", link="../read me.txt"), entry("project/hard", link="project/read me.txt", kind=tarfile.LNKTYPE),
]  # fmt: skip


@check
def unpacks_every_form_by_content():
    for number, form in enumerate(MODES):
        name = ["a.zip", "b.tar", "c.tar.gz", "noname"][number]
        dest = good(tar(*ORDINARY, form=form), name=name)
        assert read(dest, "project/read me.txt") == TEXT
        assert read(dest, "project/hard") == TEXT
        assert os.listdir(f"{dest}/project/empty") == []
        assert read(dest, "project/naïve ☃") == b"snow"
        assert os.path.exists(f"{dest}/project/-rf")
    dest = good(zipped(("a/b.txt", TEXT, None), ("a/empty/", b"", 0o40755)), name="x.tar.gz", before=os.mkdir)
    assert read(dest, "a/b.txt") == TEXT
    assert os.listdir(f"{dest}/a/empty") == []


@check
def keeps_links_bits_and_times():
    dest = good(tar(*ORDINARY, form="gzip"))
    assert os.readlink(f"{dest}/project/latest") == "bin/tool"
    assert read(dest, "project/bin/up") == TEXT
    modes = {name: os.stat(f"{dest}/project/{name}").st_mode for name in ("bin/tool", "read me.txt", "shared", "locked")}
    assert modes["bin/tool"] & 0o111
    assert not modes["read me.txt"] & 0o111
    assert not modes["shared"] & 0o7000
    assert modes["locked"] & 0o600 == 0o600
    for folder, folders, names in os.walk(dest):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                assert os.stat(path).st_uid == 65534
                assert os.stat(path).st_mode & 0o600 == 0o600, path
    assert abs(os.stat(f"{dest}/project/read me.txt").st_mtime - MTIME) <= 2
    entries = [("run", b"#!/bin/sh\n", stat.S_IFREG | 0o755), ("doc", b"d", stat.S_IFREG | 0o644)]
    dest = good(zipped(*entries, ("to", b"doc", stat.S_IFLNK | 0o777)))
    assert os.stat(f"{dest}/run").st_mode & 0o111
    assert not os.stat(f"{dest}/doc").st_mode & 0o111
    assert os.readlink(f"{dest}/to") == "doc"
    assert abs(os.stat(f"{dest}/doc").st_mtime - 1_500_000_000) <= 2


@check
def splits_windows_names():
    dest = good(zipped(("docs\\notes\\a.txt", b"a", None)))
    assert read(dest, "docs/notes/a.txt") == b"a"
    bad(zipped(("docs\\..\\..\\evil.txt", b"a", None)), 77, "backslashes that climb")


@check
def refuses_names_that_lead_outside():
    for name in ("a/../../evil", "/tmp/evil", "a/.."):
        bad(tar(entry("fine", b"1"), entry(name, b"evil")), 77, f"tar {name}")
        bad(zipped(("fine", b"1", None), (name, b"evil", None)), 77, f"zip {name}")
    assert not os.path.lexists("/tmp/evil")


@check
def refuses_links_that_lead_outside():
    outside = room()
    with open(f"{outside}/secret", "w") as file:
        file.write("s")
    os.chmod(f"{outside}/secret", 0o644)
    for target in ("../..", "a/../../..", f"{outside}/secret"):
        bad(tar(entry("fine", b"1"), entry("a/link", link=target)), 77, target)
        bad(zipped(("link", target.encode(), stat.S_IFLNK | 0o777)), 77, f"zip {target}")
    chain = [entry("d", mode=0o755), entry("d/up", link=".."), entry("e", link="d/up/..")]
    bad(tar(*chain), 77, "a chain of links")
    bad(tar(*reversed(chain)), 77, "a chain of links, backwards")
    bad(tar(entry("h", link="../upload", kind=tarfile.LNKTYPE)), 77, "a hard link")
    bad(tar(entry("h", link="/etc/passwd", kind=tarfile.LNKTYPE)), 77, "an absolute hard link")


@check
def refuses_to_write_through_links():
    outside = room()
    bad(tar(entry("l", link=outside), entry("l/evil", b"e")), 77, "through a link outside")
    assert os.listdir(outside) == []
    bad(tar(entry("d/x", b"1"), entry("l", link="d"), entry("l/y", b"2")), 77, "through a link inside")


@check
def refuses_devices_and_bombs():
    for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE):
        bad(tar(entry("fine", b"1"), entry("special", kind=kind)), 77, "a device")
    bad(zipped(("pipe", b"", stat.S_IFIFO | 0o644)), 77, "a pipe")
    zeros = bytes(10 << 20)
    bad(tar(entry("a", zeros), entry("b", zeros), form="gzip"), 77, "a tar bomb")
    bad(zipped(("a", zeros, None), ("b", zeros, None)), 77, "a zip bomb")


@check
def leaves_nothing_of_damaged_archives():
    content = [entry(f"f{number}", random.randbytes(5000)) for number in range(10)]
    whole = {form: tar(*content, form=form) for form in MODES}
    whole["zip"] = zipped(*((f"f{number}", random.randbytes(5000), None) for number in range(10)))
    for form, data in whole.items():
        bad(data[: len(data) * 6 // 10], 65, f"truncated {form}")
    data = bytearray(whole["zip"])
    data[2000] ^= 0xFF
    bad(bytes(data), 65, "a damaged zip")
    for data in (b"", b"just text\n" * 100, random.randbytes(4000)):
        bad(data, 65, "no archive")


@check
def does_not_touch_what_is_there():
    def full(dest):
        os.mkdir(dest)
        with open(f"{dest}/mine", "w") as file:
            file.write("mine")

    def taken(dest):
        with open(dest, "w") as file:
            file.write("mine")

    for before in (full, taken):
        code, _, err, dest, new = unpack(tar(*ORDINARY), before=before)
        assert code == 73, (code, err)
        assert new == {"out"}
        assert os.listdir(dest) == ["mine"] if before is full else read(dest) == b"mine"


main()
