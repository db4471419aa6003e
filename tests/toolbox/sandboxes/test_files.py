"""Conformance: files and trees."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from envfarm.toolbox.errors import FileProblem
from envfarm.toolbox.sandboxes.base import Sandbox

from .conftest import Start, Variant

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = [
    "plain",
    "with space",
    "ünï/漢字 🎉",
    "-n",
    'it\'s "quoted" $HOME `id`',
    "new\nline",
    "\udcff",
    "a*b?[c]",
    "%s\\n",
]


@pytest.mark.parametrize("name", NAMES)
async def test_names_of_every_kind(sandbox: Sandbox, name: str) -> None:
    for data in (b"text\n", b"\x00\xff\r\n", b""):
        await sandbox.write(f"names/{name}", data)
        assert await sandbox.read(f"names/{name}") == data


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 32767, 32768, 32769, 65536, 65537, 1 << 20])
async def test_sizes_around_every_limit(sandbox: Sandbox, size: int) -> None:
    for data in (b"x" * size, b"\n" * size, os.urandom(size)):
        await sandbox.write("sized", data)
        assert await sandbox.read("sized") == data


async def test_100_megabytes(sandbox: Sandbox) -> None:
    data = os.urandom(1 << 20) * 100
    await sandbox.write("big", data)
    assert await sandbox.read("big") == data
    await sandbox.run("rm big")


async def test_writing_keeps_the_file_and_its_mode(sandbox: Sandbox) -> None:
    await sandbox.write("kept", b"one", mode=0o751)
    await sandbox.run("ln -f kept kept-too; ln -sf kept kept-link")
    await sandbox.write("kept-link", b"two")
    assert await sandbox.read("kept-too") == b"two"
    assert (await sandbox.run("stat -c '%a %h' kept; readlink kept-link")).stdout == b"751 2\nkept\n"
    await sandbox.write("kept", os.urandom(40_000), mode=0o4755)
    assert (await sandbox.run("stat -c %a kept")).stdout == b"4755\n"


async def test_problems_have_their_reasons(sandbox: Sandbox) -> None:
    await sandbox.run("mkdir -p dir; ln -sf nowhere dangling; ln -sf loop loop; mkfifo fifo 2>/dev/null; echo x >file")
    cases = [
        ("missing", "missing"),
        ("dir", "directory"),
        ("dangling", "missing"),
        ("file/x", "missing"),
        ("fifo", "other"),
    ]
    for path, reason in cases:
        with pytest.raises(FileProblem) as problem:
            await sandbox.read(path)
        assert problem.value.reason == reason, path
    for path, reason in [("dir", "directory"), ("file/x", "other"), ("fifo", "other"), ("/proc/version", "denied")]:
        for data in (b"x", bytes(40_000)):
            with pytest.raises(FileProblem) as problem:
                await sandbox.write(path, data)
            assert problem.value.reason in (reason, "other"), path
    with pytest.raises(FileProblem) as problem:
        await sandbox.get_tree("missing")
    assert problem.value.reason == "missing"
    with pytest.raises(FileProblem):
        await sandbox.get_tree("file")
    with pytest.raises(FileProblem):
        await sandbox.put_tree(b"this is no tar", "dir")
    assert (await sandbox.run("ls -a dir")).stdout == b".\n..\n"


async def test_reading_stops_at_a_limit(sandbox: Sandbox) -> None:
    await sandbox.write("limited", b"x" * 100_000)
    assert len(await sandbox.read("limited", limit=100_000)) == 100_000
    with pytest.raises(FileProblem, match="larger than 99999 bytes"):
        await sandbox.read("limited", limit=99_999)
    await sandbox.run("mkdir -p sparse; dd if=/dev/zero of=sparse/huge bs=1048576 seek=1048575 count=1")
    with pytest.raises(FileProblem) as problem:
        await sandbox.read("sparse/huge", limit=1 << 20)
    assert problem.value.reason == "space"
    with pytest.raises(FileProblem) as problem:
        await sandbox.get_tree("sparse", limit=1 << 20)
    assert problem.value.reason == "space"
    await sandbox.run("rm -r sparse")


async def test_background_output_does_not_get_into_a_file(sandbox: Sandbox, session: str) -> None:
    data = os.urandom(3 << 20)
    await sandbox.write("clean/file", data)
    await sandbox.run("(while :; do echo noise; echo noise >&2; done) & sleep 0.1", session=session, output_limit=100)
    assert await sandbox.read("clean/file") == data
    tree = await sandbox.get_tree("clean")
    await sandbox.kill_all()
    with tarfile.open(fileobj=io.BytesIO(tree)) as archive:
        member = archive.extractfile("./file")
        assert member is not None
        assert member.read() == data


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def entry(name: str, **about: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for key, value in about.items():
        setattr(member, key, value)
    return member


async def test_trees_keep_modes_owners_and_links(sandbox: Sandbox, variant: Variant) -> None:
    tree = packed(
        (entry("bin", type=tarfile.DIRTYPE, mode=0o711, uid=1234, gid=4321), b""),
        (
            entry("bin/run", mode=0o4755, uid=1234, gid=4321, uname="nobody", gname="daemon", mtime=1_000_000_000),
            b"#!\n",
        ),
        (entry("link", type=tarfile.SYMTYPE, linkname="../../etc/passwd"), b""),
        (entry("long/" + "x" * 150 + "/ünï 漢", mode=0o600), b"\0\xff"),
    )
    await sandbox.run("rm -rf out")
    await sandbox.put_tree(tree, "out/tree")
    listing = await sandbox.run("stat -c '%a %u %g' bin bin/run; readlink link; stat -c %Y bin/run", cwd="out/tree")
    assert listing.stdout == b"711 1234 4321\n4755 1234 4321\n../../etc/passwd\n1000000000\n"
    back = await sandbox.get_tree("out/tree")
    with tarfile.open(fileobj=io.BytesIO(back)) as archive:
        members = {one.name.removeprefix("./").rstrip("/"): one for one in archive.getmembers()}
        run = members["bin/run"]
        assert (run.mode, run.uid, run.gid, run.mtime) == (0o4755, 1234, 4321, 1_000_000_000)
        assert members["link"].issym()
        assert members["link"].linkname == "../../etc/passwd"
        data = archive.extractfile(members["long/" + "x" * 150 + "/ünï 漢"])
        assert data is not None
        assert data.read() == b"\0\xff"


async def test_a_hostile_tree_is_packed_as_it_is(sandbox: Sandbox) -> None:
    await sandbox.run(
        "rm -rf bad; mkdir -p bad/sub/.git/objects bad/node_modules bad/keep; cd bad; mkfifo pipe; ln -s / root;"
        " ln -s /proc/self/environ secret; echo x >a; ln a b; echo y >sub/.git/config; echo z >node_modules/z;"
        " touch \"$(printf 'new\\nline')\" \"$(printf '\\377')\" -- '--checkpoint=1'; echo k >keep/a.git"
    )
    tree = await sandbox.get_tree("bad", exclude=[".git", "node_modules", "*"], limit=1 << 20)
    with tarfile.open(fileobj=io.BytesIO(tree), errors="surrogateescape") as archive:
        found = {one.name.removeprefix("./"): one for one in archive.getmembers()}
    assert {"pipe", "root", "secret", "a", "b", "sub", "new\nline", "\udcff", "--checkpoint=1", "keep/a.git"} <= set(
        found
    )
    assert not [name for name in found if ".git/" in name or name.endswith("/.git") or "node_modules" in name]
    assert found["pipe"].isfifo()
    assert found["root"].issym()


async def test_a_large_tree_comes_through(sandbox: Sandbox) -> None:
    members = [(entry(f"d{i % 10}/f{i}"), os.urandom(2000)) for i in range(2000)]
    await sandbox.put_tree(packed(*members), "large")
    back = await sandbox.get_tree("large")
    with tarfile.open(fileobj=io.BytesIO(back)) as archive:
        count = sum(1 for one in archive if one.isfile())
    assert count == 2000


async def test_files_of_another_user(isolated: Variant, sandbox: Sandbox) -> None:
    await sandbox.run("mkdir -m 1777 /shared; mkdir -m 700 /secret; echo s >/secret/s")
    await sandbox.write("/shared/theirs", b"x", user="nobody", mode=0o640)
    assert (await sandbox.run("stat -c '%U %a' /shared/theirs")).stdout == b"nobody 640\n"
    for data in (b"x", bytes(40_000)):
        with pytest.raises(FileProblem) as problem:
            await sandbox.write("/secret/new", data, user="nobody")
        assert problem.value.reason in ("denied", "other")
    assert await sandbox.read("/secret/s") == b"s\n"


async def test_a_full_disk(isolated: Variant, start: Start, session: str) -> None:
    sandbox = await start()
    size = (await sandbox.run("df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2")).stdout
    if not size.strip().isdigit() or int(size) >= isolated.spec.limits.memory_mb << 10:
        pytest.skip("this runtime gives no /dev/shm of bounded size to fill")
    await sandbox.run("cd /dev/shm; dd if=/dev/zero of=full bs=1048576", session=session)
    for data in (b"x" * 20_000, bytes(1 << 20)):
        with pytest.raises(FileProblem) as problem:
            await sandbox.write("/dev/shm/more", data)
        assert problem.value.reason == "space"
    result = await sandbox.run("echo no >/dev/shm/room; echo code $?; exit 3", session=session)
    assert result.stdout.startswith(b"code ")
    again = await sandbox.run("echo alive; rm /dev/shm/full", session=session)
    assert again.stdout == b"alive\n"
    await sandbox.write("/dev/shm/more", b"fits")


async def test_tools_that_the_model_replaced_cannot_flood_the_farm(isolated: Variant, start: Start) -> None:
    if isolated.busybox:
        pytest.skip("busybox's shell runs its own dd and tar, which nothing in the sandbox can replace")
    sandbox = await start()
    await sandbox.run("mkdir -p /evil; echo x >/evil/file")
    for name in ("dd", "tar"):
        place = (await sandbox.run(f"command -v {name}")).stdout.decode().strip()
        await sandbox.run(f"rm -f {place}; printf '#!/bin/sh\\nexec yes\\n' >{place}; chmod +x {place}")
    with pytest.raises(FileProblem):
        await sandbox.read("/evil/file", limit=1000)
    with pytest.raises(FileProblem):
        await sandbox.get_tree("/evil", limit=1000)
    assert (await sandbox.run("echo alive")).stdout == b"alive\n"
