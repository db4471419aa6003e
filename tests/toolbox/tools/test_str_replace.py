"""The `str_replace` tool, on the Debian base and on busybox alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from envfarm.toolbox.errors import FileProblem
from envfarm.toolbox.sandboxes.base import Sandbox
from envfarm.toolbox.tools.base import ToolResult

Call = Callable[..., Awaitable[ToolResult]]


async def test_an_edit_shows_the_lines_around_it(call: Call, sandbox: Sandbox) -> None:
    await sandbox.write("/tmp/f", b"".join(b"line %d\n" % n for n in range(1, 10)))
    result = await call("str_replace", path="/tmp/f", old="line 5\n", new="five\nand a half\n")
    assert not result.is_error
    assert result.content.splitlines() == [
        "Edited /tmp/f.",
        "     2\tline 2",
        "     3\tline 3",
        "     4\tline 4",
        "     5\tfive",
        "     6\tand a half",
        "     7\tline 6",
        "     8\tline 7",
        "     9\tline 8",
    ]
    assert b"line 4\nfive\nand a half\nline 6\n" in await sandbox.read("/tmp/f")


async def test_a_new_file_is_created_with_its_folders(call: Call, sandbox: Sandbox) -> None:
    result = await call("str_replace", path="/tmp/new dir/é'\"$x.txt", old="", new="a\nb")
    assert result.content == "Created /tmp/new dir/é'\"$x.txt.\n     1\ta\n     2\tb"
    assert await sandbox.read("/tmp/new dir/é'\"$x.txt") == b"a\nb"


async def test_relative_paths_start_at_the_sessions_directory(call: Call, sandbox: Sandbox) -> None:
    await call("bash", command="mkdir -p '/tmp/a b' && cd '/tmp/a b'")
    result = await call("str_replace", path="x.txt", old="", new="x")
    assert result.content.startswith("Created /tmp/a b/x.txt.")
    assert await sandbox.read("/tmp/a b/x.txt") == b"x"


async def test_mode_owner_and_links_stay(call: Call, sandbox: Sandbox) -> None:
    await sandbox.run(
        "echo old > /tmp/f && chmod 4751 /tmp/f && chown 12:34 /tmp/f && ln -s f /tmp/l && ln /tmp/f /tmp/h"
    )
    await call("str_replace", path="/tmp/l", old="old", new="new")
    shown = await sandbox.run("stat -c '%a %u %g %h' /tmp/f; cat /tmp/h; readlink /tmp/l")
    mode, rest = shown.stdout.split(b" ", 1)
    assert rest == b"12 34 2\nnew\nf\n"
    assert mode in (b"4751", b"751")  # the kernel takes setuid away from a file that is written


EDITS = [
    (b"a\r\nb\r\n", "a\nb", "A\nB\nC", b"A\r\nB\r\nC\r\n"),
    (b"\xef\xbb\xbfa\n", "a", "é", b"\xef\xbb\xbf\xc3\xa9\n"),
    (b"caf\xe9\n", "café", "thé", b"th\xe9\n"),
    (b"\xff\xfea\0\n\0", "a", "é", b"\xff\xfe\xe9\0\n\0"),
    (b"a\xff\n", "a", "b", b"b\xff\n"),
    (b"no end", "end", "newline", b"no newline"),
    (b"x\n", "x\n", "", b""),
]


async def test_encoding_and_line_ends_stay(call: Call, sandbox: Sandbox) -> None:
    for before, old, new, after in EDITS:
        await sandbox.write("/tmp/f", before)
        result = await call("str_replace", path="/tmp/f", old=old, new=new)
        assert not result.is_error, result.content
        assert await sandbox.read("/tmp/f") == after


MISTAKES = [
    ("/tmp/f", "x", "y", "`old` occurs 2 times, at lines 1, 3"),
    ("/tmp/f", "zz", "y", "`old` does not occur in /tmp/f."),
    ("/tmp/f", "  b", "y", "White space differs"),
    ("/tmp/f", "b", "b", "the same"),
    ("/tmp/f", "", "y", "/tmp/f exists"),
    ("/tmp/none", "x", "y", "/tmp/none does not exist"),
    ("/tmp", "x", "y", "/tmp is a directory"),
    ("/tmp/binary", "x", "y", "binary file"),
    ("/tmp/latin", "caf", "→", "has no form for '→'"),
    ("/dev/null", "x", "y", "/dev/null is not a regular file"),
    ("/tmp/loop", "x", "y", "does not exist"),
    ("/tmp/f/x", "", "y", "/tmp/f/x cannot be written"),
    ("/proc/version", "Linux", "Unix", "/proc/version cannot be written"),
]


async def test_a_mistake_is_answered_and_changes_nothing(call: Call, sandbox: Sandbox) -> None:
    await sandbox.run(
        "cd /tmp && printf 'x\\n\\tb\\nx\\n' > f && ln -s loop loop &&"
        " printf 'x\\000' > binary && printf 'caf\\351' > latin"
    )
    before = await sandbox.run("cd /tmp && cat f binary latin")
    for path, old, new, said in MISTAKES:
        result = await call("str_replace", path=path, old=old, new=new)
        assert result.is_error, path
        assert said in result.content
        assert (await sandbox.run("cd /tmp && cat f binary latin")).stdout == before.stdout


async def test_edits_are_made_by_the_agents_own_user(call: Call, sandbox: Sandbox) -> None:
    await sandbox.run("echo old > /tmp/f && chmod 644 /tmp/f && echo secret > /tmp/s && chmod 600 /tmp/s")
    as_nobody = {"user": "65534:65534"}
    written = await call("str_replace", path="/tmp/f", old="old", new="new", context=as_nobody)
    assert written.is_error
    assert "cannot be written" in written.content
    read = await call("str_replace", path="/tmp/s", old="secret", new="new", context=as_nobody)
    assert "cannot be read" in read.content
    assert await sandbox.read("/tmp/f") == b"old\n"


async def test_a_full_disk_leaves_the_file_as_it_was(call: Call, sandbox: Sandbox) -> None:
    await sandbox.run("echo 'only line' > /dev/shm/f && mkdir -p /dev/shm/t")
    filled = await sandbox.run("dd if=/dev/zero of=/dev/shm/fill bs=1M 2>/dev/null; rm -rf /tmp; ln -s /dev/shm/t /tmp")
    assert filled.exit_code == 0
    result = await call("str_replace", path="/dev/shm/f", old="only", new="o" * 200_000)
    assert result.is_error
    assert (await sandbox.run("cat /dev/shm/f")).stdout == b"only line\n"


async def test_a_file_that_is_too_large_is_refused(call: Call, sandbox: Sandbox) -> None:
    await sandbox.run("dd if=/dev/zero of=/tmp/big bs=1M count=11 2>/dev/null")
    result = await call("str_replace", path="/tmp/big", old="x", new="y")
    assert "larger than 10 MiB" in result.content


async def test_a_large_file_is_edited_exactly(call: Call, sandbox: Sandbox) -> None:
    data = b"".join(b"%07d\n" % n for n in range(1 << 20))
    await sandbox.write("/tmp/big", data)
    result = await call("str_replace", path="/tmp/big", old="0500000\n", new="half\n")
    assert result.content.splitlines()[4] == "500001\thalf"
    assert await sandbox.read("/tmp/big") == data.replace(b"0500000\n", b"half\n")


async def test_an_edit_that_an_earlier_process_made_is_not_made_twice(call: Call, sandbox: Sandbox) -> None:
    await sandbox.write("/tmp/f", b"a\nb\n")
    context = {"command_id": "edit"}
    first = await call("str_replace", path="/tmp/f", old="b", new="bb", context=context)
    again = await call("str_replace", path="/tmp/f", old="b", new="bb", context={**context, "resumed": True})
    assert again.content == first.content
    assert await sandbox.read("/tmp/f") == b"a\nbb\n"


async def test_an_edit_that_never_arrived_is_made_when_resumed(call: Call, sandbox: Sandbox) -> None:
    await sandbox.write("/tmp/f", b"a\n")
    result = await call("str_replace", path="/tmp/f", old="a", new="b", context={"command_id": "no", "resumed": True})
    assert result.content == "Edited /tmp/f.\n     1\tb"


async def test_a_shell_that_was_bent_does_not_bend_the_tool(call: Call, sandbox: Sandbox) -> None:
    await call(
        "bash", command="cd /tmp; pwd() { echo /nowhere; }; cat() { echo no; }; alias rm='echo no'; set -e -x -u"
    )
    result = await call("str_replace", path="f", old="", new="x")
    assert result.content.startswith("Created /tmp/f.")
    with pytest.raises(FileProblem):
        await sandbox.read("/nowhere/f")
