"""What of an agent's changes its tests get to see."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pytest

from envfarm.envs.carry import BROKEN, Carried, carry
from envfarm.envs.carry_policy import Policy, Tree


def _words(text: str) -> list[str]:
    return text.split()


DIRECTORIES = _words("""/ /app /app/src /etc /etc/ssl /root /usr /usr/bin /usr/lib /usr/lib/x86_64-linux-gnu /usr/local
/usr/lib/python3.11 /usr/lib/python3 /usr/lib/python3/dist-packages /usr/lib/python3/dist-packages/pytest
/usr/local/bin /usr/local/lib /usr/local/lib/python3.11 /usr/local/lib/python3.11/dist-packages /tmp /var /logs""")
FILES = _words("""/app/main.py /app/src/a.c /etc/passwd /usr/bin/bash /usr/bin/python3 /usr/bin/ls
/usr/lib/python3.11/json.py
/usr/lib/x86_64-linux-gnu/libc.so.6 /usr/lib/python3/dist-packages/pytest/__init__.py""")
PASSWD = b"root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
TREE = Tree(
    directories=frozenset(DIRECTORIES),
    links=frozenset(["/bin", "/lib"]),
    files=frozenset(FILES),
    path=("/usr/local/bin", "/usr/bin", "/bin"),
    workdir="/app",
    accounts={"/etc/passwd": PASSWD},
)
PRESENT = [*DIRECTORIES, *FILES, "/bin", "/lib"]

Entry = tuple[str, str | bytes | None]  # bytes: a file; None: a folder; text: a link's target


def tar(entries: Sequence[Entry], kind: bytes = tarfile.SYMTYPE) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                out.addfile(member)
            elif isinstance(content, bytes):
                member.size = len(content)
                out.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = kind, content
                out.addfile(member)
    buffer.seek(0)
    return buffer


def sift(*entries: Entry, gone: Sequence[str] = (), allow: tuple[str, ...] = ()) -> Carried:
    present = [path for path in PRESENT if path not in gone]
    return carry(tar(entries).getvalue(), present, Policy(TREE, allow=allow))


def names(carried: Carried) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(carried.tar)) as archive:
        return ["/" + name for name in archive.getnames()]


@pytest.mark.parametrize(
    "path",
    [
        "/app/main.py",
        "/app/new.py",
        "/etc/passwd",
        "/etc/crontab",
        "/root/.gitconfig",
        "/var/spool",
        "/tmp/x",
        "/usr/bin/vim",
        "/usr/local/bin/mytool",
        "/usr/lib/x86_64-linux-gnu/libnew.so.1",
        "/usr/local/lib/python3.11/dist-packages/requests.py",
        "/app/test_json.py",
    ],
)
def test_an_agents_own_work_is_carried(path: str) -> None:
    assert names(sift((path, b"x"))) == [path]


@pytest.mark.parametrize(
    "path",
    [
        "/usr/bin/python3",
        "/usr/bin/bash",
        "/usr/local/bin/python3",
        "/usr/local/bin/ls",
        "/usr/local/bin/pytest",
        "/usr/local/bin/uvx",
        "/usr/bin/curl",
        "/root/.local/bin/uvx",
        "/root/.local/bin/env",
        "/root/.bashrc",
        "/root/.bash_profile",
        "/etc/ld.so.preload",
        "/etc/ld.so.cache",
        "/etc/profile",
        "/etc/profile.d/x.sh",
        "/etc/nsswitch.conf",
        "/etc/alternatives/awk",
        "/usr/lib/python311.zip",
        "/usr/lib/python3.11/json.py",
        "/usr/lib/python3.11/sitecustomize.py",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/usr/local/lib/libc.so.6",
        "/usr/lib/x86_64-linux-gnu/libnss_evil.so.2",
        "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.d/evil.conf",
        "/usr/local/lib/python3.11/dist-packages/evil.pth",
        "/usr/local/lib/python3.11/dist-packages/sitecustomize.py",
        "/usr/local/lib/python3.11/dist-packages/usercustomize/__init__.py",
        "/usr/local/lib/python3.11/dist-packages/pytest/__init__.py",
        "/usr/local/lib/python3.11/dist-packages/evil-1.0.dist-info/entry_points.txt",
        "/usr/local/lib/python3.11/json.py",
        "/conftest.py",
        "/pytest.ini",
        "/app/pytest.py",
        "/app/json.py",
        "/app/json/__init__.py",
        "/app/json.cpython-311-x86_64-linux-gnu.so",
        "/tests/test.sh",
        "/logs/verifier/reward.json",
        "/solution/solve.sh",
        "/proc/1/mem",
    ],
)
def test_what_would_change_who_runs_the_tests_is_not(path: str) -> None:
    folders = [str(parent) for parent in reversed(PurePosixPath(path).parents)][1:]
    carried = sift(*((folder, None) for folder in folders if folder not in TREE), (path, b"x"))
    assert path not in names(carried)
    assert path in carried.refused


def test_a_task_can_name_what_its_tests_must_see() -> None:
    paths: list[Entry] = [("/usr/bin/ls", b"x"), ("/root/.bashrc", b"x"), ("/etc/ld.so.preload", b"x")]
    carried = sift(*paths, allow=("/usr/bin/l*", "/root/.bashrc"))
    assert sorted(names(carried)) == ["/root/.bashrc", "/usr/bin/ls"]


def test_what_the_agent_deleted_is_removed_but_for_the_systems() -> None:
    carried = sift(("/app", None), gone=["/app/src", "/app/src/a.c", "/usr/bin/ls", "/usr/lib/python3.11/json.py"])
    assert carried.remove == ["/app/src"]
    assert carried.refused == {
        "/usr/bin/ls": "deleted; it is the system's",
        "/usr/lib/python3.11/json.py": "deleted; it is the system's",
    }


def test_a_changed_file_takes_the_place_of_the_old_one() -> None:
    carried = sift(("/app/main.py", b"new"), ("/app", None))
    assert carried.remove == ["/app/main.py"]
    assert names(carried) == ["/app", "/app/main.py"]


def test_a_folder_that_became_a_link_is_one() -> None:
    carried = sift(("/app/src", "/data"), gone=["/app/src/a.c"])
    assert carried.remove == ["/app/src"]
    assert names(carried) == ["/app/src"]


@pytest.mark.parametrize("folder", ["/usr", "/usr/bin", "/usr/local", "/etc", "/root", "/etc/ssl", "/logs", "/tests"])
def test_a_link_cannot_stand_in_for_a_folder_of_the_system(folder: str) -> None:
    carried = sift((folder, "/tmp/mine"), ("/tmp/mine", None), ("/tmp/mine/ld.so.preload", b"x"))
    assert folder not in names(carried)
    assert folder not in carried.remove


@pytest.mark.parametrize("link", ["/app/out", "/tmp/out"])
def test_nothing_is_written_through_a_link(link: str) -> None:
    carried = sift((link, "/usr/bin"), (f"{link}/python3", b"evil"))
    assert names(carried) == [link]
    assert f"{link}/python3" in carried.refused


def test_nothing_is_written_through_a_link_of_the_image() -> None:
    carried = sift(("bin/python3", b"evil"), ("lib/evil.so", b"x"))
    assert names(carried) == []


@pytest.mark.parametrize("name", ["../etc/ld.so.preload", "app/../usr/bin/ls", "/app/../../usr/bin/ls", ".", "/"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    carried = sift((name, b"x"))
    assert names(carried) == []
    assert carried.remove == []


def test_of_two_entries_with_one_name_the_last_counts() -> None:
    carried = sift(("/app/x", "/usr/bin"), ("/app/x", b"file"))
    with tarfile.open(fileobj=io.BytesIO(carried.tar)) as archive:
        (member,) = archive.getmembers()
    assert member.isreg()


def test_hard_links_stay_and_never_reach_the_system() -> None:
    entries: list[Entry] = [("/app/src/b", "app/a"), ("/app/a", b"data"), ("/app/c", "usr/bin/python3")]
    carried = carry(tar(entries, tarfile.LNKTYPE).getvalue(), PRESENT, Policy(TREE))
    with tarfile.open(fileobj=io.BytesIO(carried.tar)) as archive:
        assert [(member.name, member.linkname) for member in archive] == [("app/a", ""), ("app/src/b", "app/a")]
    assert carried.refused == {"/app/c": "it is a hard link to what is not carried over"}


def test_devices_are_refused() -> None:
    carried = carry(tar([("/app/disk", "")], tarfile.BLKTYPE).getvalue(), PRESENT, Policy(TREE))
    assert names(carried) == []


@pytest.mark.parametrize("cut", [0, 100, 600, 1500])
def test_a_broken_tar_counts_as_far_as_it_goes(cut: int) -> None:
    whole = tar([("/app/a", b"a" * 100), ("/app/b", b"b" * 100)]).getvalue()
    carried = carry(whole[:cut], PRESENT, Policy(TREE))
    assert set(names(carried)) <= {"/app/a"}


def test_garbage_is_no_change() -> None:
    carried = carry(b"\xff" * 4096, PRESENT, Policy(TREE))
    assert (names(carried), carried.remove) == ([], [])
    assert "(tar)" in carried.refused


def hostile(**fields: Any) -> Carried:
    buffer = io.BytesIO()
    form = tarfile.PAX_FORMAT if "pax_headers" in fields else tarfile.GNU_FORMAT
    with tarfile.open(fileobj=buffer, mode="w", format=form) as out:
        member = tarfile.TarInfo("app/x")
        for name, value in fields.items():
            setattr(member, name, value)
        out.addfile(member)
        out.addfile(tarfile.TarInfo("app/fine"))
    return carry(buffer.getvalue(), PRESENT, Policy(TREE))


@pytest.mark.parametrize(
    "fields",
    [
        {"uid": 2**40},
        {"gid": 2**32 - 1},
        {"name": "app/" + "x" * 300},
        {"name": "app/" + "x/" * 3000 + "x"},
        {"type": tarfile.SYMTYPE, "linkname": ""},
        {"type": tarfile.SYMTYPE, "linkname": "y" * 5000},
        {"pax_headers": {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1000000000000", "GNU.sparse.numblocks": "1"}},
    ],
)
def test_an_entry_that_would_break_the_unpacking_is_left_out(fields: dict[str, Any]) -> None:
    assert names(hostile(**fields)) == ["/app/fine"]


@pytest.mark.parametrize("mtime", ["inf", "nan", "-1", "99999999999999999999"])
def test_a_time_that_is_none_does_no_harm(mtime: str) -> None:
    assert names(hostile(pax_headers={"mtime": mtime})) == ["/app/x", "/app/fine"]


@pytest.mark.parametrize("size", ["-1536", "1000000000", "1" * 30])
def test_a_size_that_is_none_ends_the_tar(size: str) -> None:
    assert set(names(hostile(pax_headers={"size": size}))) <= {"/app/x"}


def test_too_many_entries_end_the_tar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envfarm.envs.carry._COUNT_MAX", 2)
    carried = sift(("/app/1", b""), ("/app/2", b""), ("/app/3", b""))
    assert names(carried) == ["/app/1", "/app/2"]
    assert BROKEN in carried.refused


def test_archives_that_follow_each_other_are_one() -> None:
    two = tar([("/app/1", b"one" * 1000)]).getvalue() + tar([("/app/2", b"two")]).getvalue()
    carried = carry(two, PRESENT, Policy(TREE))
    with tarfile.open(fileobj=io.BytesIO(carried.tar)) as archive:
        second = archive.extractfile("app/2")
        assert second is not None
        assert second.read() == b"two"
    assert names(carried) == ["/app/1", "/app/2"]


def test_nothing_at_all_is_a_broken_tar() -> None:
    assert BROKEN in carry(b"", PRESENT, Policy(TREE)).refused


def test_a_tower_of_headers_does_no_harm() -> None:
    header = io.BytesIO()
    with tarfile.open(fileobj=header, mode="w", format=tarfile.PAX_FORMAT) as out:
        member = tarfile.TarInfo("app/x")
        member.pax_headers = {"comment": "x"}
        out.addfile(member)
    carried = carry(header.getvalue()[:1024] * 5000, PRESENT, Policy(TREE))
    assert names(carried) == []


def test_modes_and_owners_stay() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        member = tarfile.TarInfo("app/tool")
        member.mode, member.uid, member.gid, member.uname, member.mtime = 0o4755, 7, 8, "root", 12
        out.addfile(member)
    carried = carry(buffer.getvalue(), PRESENT, Policy(TREE))
    with tarfile.open(fileobj=io.BytesIO(carried.tar)) as archive:
        (found,) = archive.getmembers()
    assert (found.mode, found.uid, found.gid, found.uname, found.mtime) == (0o4755, 7, 8, "", 12)


@pytest.mark.parametrize(
    ("passwd", "goes"),
    [
        (PASSWD + b"alice:x:1000:1000::/home/alice:/bin/sh\n", True),
        (PASSWD.replace(b"/usr/sbin/nologin", b"/bin/sh"), True),
        (PASSWD.splitlines(keepends=True)[0], True),
        (PASSWD.replace(b"nobody:x:65534:65534", b"nobody:x:0:0"), False),
        (b"nobody:x:0:0::/:/bin/sh\n" + PASSWD, False),
        ("/app/passwd", False),
    ],
)
def test_accounts_of_the_image_keep_their_ids(passwd: str | bytes, goes: bool) -> None:
    carried = sift(("etc/passwd", passwd))
    assert ("/etc/passwd" not in carried.refused) is goes
    assert "/etc/passwd" not in sift(("etc/passwd", passwd), allow=("/etc/passwd",)).refused
