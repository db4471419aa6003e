"""Conformance: exit codes, outputs, input, quoting."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import shlex

import pytest

from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.sandboxes.base import Sandbox
from envfarm.toolbox.sandboxes.stream import SPOOL_LIMIT

from .conftest import Variant

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_exit_codes(sandbox: Sandbox, session: str) -> None:
    for code in (*range(0, 256, 5), 1, 2, 126, 127, 128, 129):
        assert (await sandbox.run(f"(exit {code})", session=session)).exit_code == code
    for code in (0, 1, 2, 77, 126, 127, 128, 130, 255):
        result = await sandbox.run(f"exit {code}")
        assert (result.exit_code, result.timed_out, result.session_ended) == (code, False, False)


@pytest.mark.parametrize(("name", "number"), [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("INT", 2), ("ABRT", 6)])
async def test_death_by_a_signal(sandbox: Sandbox, session: str, variant: Variant, name: str, number: int) -> None:
    if name == "INT" and not variant.bash:
        pytest.skip("a POSIX shell starts what it does not wait for with SIGINT ignored, and nothing can undo that")
    assert (await sandbox.run(f"kill -{name} $$; sleep 9")).exit_code == 128 + number
    assert (await sandbox.run(f"sh -c 'kill -{name} $$'", session=session)).exit_code == 128 + number
    assert (await sandbox.run("echo here", session=session)).stdout == b"here\n"


async def test_outputs_are_apart_and_exact(sandbox: Sandbox, session: str) -> None:
    command = r"printf 'out\000\377\r\n \n\n'; printf '\033err\303\050' >&2"
    for where in (None, session):
        result = await sandbox.run(command, session=where)
        assert result.stdout == b"out\x00\xff\r\n \n\n"
        assert result.stderr == b"\x1berr\xc3("
        assert not result.truncated
        assert (result.stdout_info.total, result.stdout_info.cut_at) == (10, None)


async def test_every_byte_comes_through_exactly(sandbox: Sandbox) -> None:
    data = bytes(range(256)) * 64
    await sandbox.write("every-byte", data)
    assert (await sandbox.run("cat every-byte")).stdout == data
    assert (await sandbox.run("cat every-byte >&2")).stderr == data


async def test_text_that_looks_like_a_marker_is_output(sandbox: Sandbox, session: str) -> None:
    looks = r"\036ef:0123456789abcdef01234567:e:0\n\036ef:\036e"
    result = await sandbox.run(f"printf '{looks}'; printf '{looks}' >&2; exit 5", session=session)
    expected = b"\x1eef:0123456789abcdef01234567:e:0\n\x1eef:\x1ee"
    assert (result.stdout, result.stderr, result.exit_code) == (expected, expected, 5)


async def test_100_megabytes_of_output_in_bounded_memory(sandbox: Sandbox) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    command = "echo begin; dd if=/dev/zero bs=100000 count=1000 2>/dev/null; echo end"
    result = await sandbox.run(command, timeout=120, output_limit=1000)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert result.truncated
    assert result.stdout_info.total == 100_000_010
    assert result.stdout == b"begin\n" + bytes(990) + b"end\n"
    assert result.stdout_info.cut_at == 500
    assert after - before < 50 << 10  # ru_maxrss is in KiB


async def test_the_whole_of_a_cut_output_is_spooled(sandbox: Sandbox, session: str) -> None:
    command = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"
    result = await sandbox.run(command, session=session, output_limit=400, spool=True)
    spool = result.stdout_info.spool
    assert spool is not None
    try:
        assert spool.read_bytes() == b"".join(b"line %d\n" % i for i in range(3000))
    finally:
        spool.unlink()
    assert result.stderr_info.spool is None
    short = await sandbox.run("echo short", session=session, output_limit=400, spool=True)
    assert short.stdout_info.spool is None


async def test_a_spool_has_an_end(sandbox: Sandbox) -> None:
    command = "dd if=/dev/zero bs=1000000 count=70 2>/dev/null"
    result = await sandbox.run(command, output_limit=100, spool=True, timeout=120)
    spool = result.stdout_info.spool
    assert spool is not None
    try:
        assert result.stdout_info.total == 70_000_000
        assert spool.stat().st_size == SPOOL_LIMIT
    finally:
        spool.unlink()


async def test_an_output_limit_of_zero_keeps_nothing(sandbox: Sandbox) -> None:
    result = await sandbox.run("echo something", output_limit=0)
    assert (result.stdout, result.stdout_info.total, result.truncated) == (b"", 10, True)


async def test_10_megabytes_of_input(sandbox: Sandbox, session: str) -> None:
    data = os.urandom(10 << 20)
    digest = hashlib.sha256(data).hexdigest().encode()
    for where in (None, session):
        result = await sandbox.run("sha256sum", stdin=data, session=where)
        assert result.stdout.split()[0] == digest
    assert (await sandbox.run("cat", stdin=b"")).stdout == b""
    assert (await sandbox.run("cat; cat", stdin=b"a\0b", session=session)).stdout == b"a\0b"


async def test_reading_input_when_there_is_none(sandbox: Sandbox, session: str) -> None:
    for where in (None, session):
        result = await sandbox.run("cat; read x; echo $?", session=where)
        assert result.stdout == b"1\n"


async def test_a_command_of_a_megabyte(sandbox: Sandbox, session: str) -> None:
    body = "x" * (1 << 20)
    for where in (None, session):
        assert (await sandbox.run(f"v={body}; echo ${{#v}}", session=where)).stdout == b"1048576\n"
    lines = f"echo a line # {'.' * 100}\n" * 9_000  # of a log, each line that is printed costs more than its bytes
    for where in (None, session):
        result = await sandbox.run(lines + "exit 3", session=where, timeout=120)
        assert (result.stdout, result.exit_code) == (b"a line\n" * 9_000, 3)


@pytest.mark.parametrize(
    "size", [1, 1999, 2000, 2001, 4055, 4056, 4057, 4095, 4096, 4097, 32768, 65536, 99_999, 100_001]
)
async def test_commands_around_every_limit(sandbox: Sandbox, session: str, size: int) -> None:
    command = ("#" * (size - 1) + "\n" if size > 6 else "") + "echo ok"
    for where in (None, session):
        assert (await sandbox.run(command, session=where)).stdout == b"ok\n"


@pytest.mark.parametrize(
    "word",
    ["'", '"', "`id`", "$HOME", "$(id)", "\\", "\\\\", "!x", "a b\tc", "*", "?", "[a]", "~", "#", ";&|<>(){}", "--",
     "-n", "\x01\x7f", "ünïcödé 漢字 🎉", "\udcff\udcfe", "a\nb\n", "%s%n", "\\n", "\r"],
)  # fmt: skip
async def test_every_quoting(sandbox: Sandbox, session: str, word: str) -> None:
    expected = word.encode("utf-8", "surrogateescape")
    for where in (None, session):
        assert (await sandbox.run(f"printf %s {shlex.quote(word)}", session=where)).stdout == expected
    assert (await sandbox.run('printf %s "$V"', env={"V": word})).stdout == expected


async def test_text_of_several_lines_runs_as_one_command(sandbox: Sandbox, session: str) -> None:
    command = "cat <<'X'\nhere $HOME\nX\nfor i in 1 2; do\n  echo $i\ndone # last"
    for where in (None, session):
        assert (await sandbox.run(command, session=where)).stdout == b"here $HOME\n1\n2\n"


async def test_bad_commands_are_answered_by_the_shell(sandbox: Sandbox, session: str) -> None:
    for where in (None, session):
        for bad, code in (("echo )", 2), ("if true", 2), ("no-such-command-here", 127), ("/etc", 126)):
            result = await sandbox.run(bad, session=where)
            assert result.exit_code == code
            assert result.stderr
        for empty in ("", "   ", "# only a comment", "\n\n"):
            result = await sandbox.run(empty, session=where)
            assert (result.exit_code, result.stdout, result.stderr) == (0, b"", b"")


async def test_input_that_no_shell_can_take_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(BadRequest, match="NUL"):
        await sandbox.run("echo \0")
    with pytest.raises(BadRequest, match="not-a-name"):
        await sandbox.run("true", env={"not-a-name": "x"})
    with pytest.raises(BadRequest, match="longer than 16777216"):
        await sandbox.run("#" * (17 << 20))
    assert (await sandbox.run("echo fine")).stdout == b"fine\n"


async def test_working_directory_and_environment(sandbox: Sandbox) -> None:
    await sandbox.run("mkdir -p 'a dir/ünï'")
    result = await sandbox.run('pwd; echo "$A"', cwd="a dir/ünï", env={"A": "x y\nz"})
    assert result.stdout.endswith("/a dir/ünï\nx y\nz\n".encode())
    missing = await sandbox.run("echo ran", cwd="/no/such/place")
    assert (missing.exit_code, missing.stdout) == (1, b"")
    assert b"/no/such/place" in missing.stderr


async def test_a_child_that_keeps_stdout_open_does_not_hold_the_command(sandbox: Sandbox, session: str) -> None:
    for where in (None, session):
        result = await sandbox.run("sleep 100 & (sleep 100 &); echo done", session=where, timeout=30)
        assert (result.stdout, result.exit_code, result.timed_out) == (b"done\n", 0, False)
        assert result.seconds < 20
    await sandbox.kill_all()


async def test_what_is_printed_between_commands_is_in_neither(sandbox: Sandbox, session: str) -> None:
    noise = "(while :; do echo noise; echo noise >&2; sleep 0.02; done) & echo first"
    assert b"first\n" in (await sandbox.run(noise, session=session)).stdout
    await asyncio.sleep(0.3)
    second = await sandbox.run("echo second", session=session)
    assert second.stdout.replace(b"noise\n", b"") == b"second\n"
    assert second.stdout_info.total < 100
    await sandbox.kill_all()


async def test_concurrent_calls_are_served_in_order(sandbox: Sandbox, session: str, variant: Variant) -> None:
    await sandbox.run("rm -f order")
    calls = [sandbox.run(f"echo {i} >>order; echo {i}", session=session if i % 2 else None) for i in range(30)]
    results = await asyncio.gather(*calls)
    assert [one.stdout for one in results] == [b"%d\n" % i for i in range(30)]
    assert await sandbox.read("order") == b"".join(b"%d\n" % i for i in range(30))
