"""The `bash` tool, on the Debian base and on busybox alone."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import SandboxLost
from envfarm.toolbox.sandboxes.base import Sandbox
from envfarm.toolbox.tools.base import ToolResult

Call = Callable[..., Awaitable[ToolResult]]


ANSWERS = [
    ("echo hello", "hello\n", 0),
    ("printf hello", "hello", 0),
    ("true", "[no output]", 0),
    ("false", "[exit code 1]", 1),
    ("echo out; echo err >&2", "out\n[stderr]\nerr\n", 0),
    ("printf out; printf err >&2; (exit 3)", "out\n[stderr]\nerr\n[exit code 3]", 3),
    ("echo err >&2", "[stderr]\nerr\n", 0),
    ("printf 'a\\000b\\377'", "a\\x00b\\xff", 0),
    ("cat", "[no output]", 0),
    ("printf 'caf\\303\\251 😀\\n'", "café 😀\n", 0),
]


async def test_what_a_command_answers(call: Call) -> None:
    for command, content, exit_code in ANSWERS:
        result = await call("bash", command=command)
        assert (result.content, result.exit_code) == (content, exit_code), command
        assert not result.is_error
        assert not result.truncated


async def test_the_session_lasts(call: Call) -> None:
    await call("bash", command='cd /tmp; export A=1; f() { echo "f $1"; }')
    assert (await call("bash", command='pwd; echo "$A"; f x')).content == "/tmp\n1\nf x\n"
    assert (await call("bash", command="exit 3")).content == "[exit code 3]"
    assert (await call("bash", command='pwd; echo "$A"')).content == "/tmp\n1\n"


async def test_a_time_out_says_so_and_keeps_what_was_printed(call: Call) -> None:
    await call("bash", command="cd /tmp")
    result = await call("bash", command="echo before; sleep 60", timeout=0.5)
    assert result.timed_out
    assert result.exit_code is None
    assert result.content.startswith("before\n[timed out after 0.5 s:")
    assert (await call("bash", command="pwd")).content == "/tmp\n"


async def test_the_farms_limit_on_a_call_holds_too(call: Call) -> None:
    result = await call("bash", command="sleep 60", timeout=100, context={"timeout": 0.5})
    assert result.timed_out


async def test_long_output_is_cut_and_stays_readable_as_file_and_artefact(call: Call, artifacts: Artifacts) -> None:
    result = await call("bash", command="seq 1 5000; seq 5001 9000 >&2; exit 2")
    whole = {
        "stdout": "".join(f"{n}\n" for n in range(1, 5001)).encode(),
        "stderr": "".join(f"{n}\n" for n in range(5001, 9001)).encode(),
    }
    assert result.truncated
    assert len(result.content) < 2600
    assert result.content.startswith("1\n2\n3\n")
    assert result.content.endswith("\n8999\n9000\n[exit code 2]")
    assert "of 23893 bytes cut here; the whole of it is in /tmp/envfarm-output-1.txt ...]\n" in result.content
    assert "of 20000 bytes cut here; the whole of it is in /tmp/envfarm-output-2.txt ...]\n" in result.content
    assert {name: artifacts.get(digest) for name, digest in result.artifacts.items()} == whole
    check = await call("bash", command="wc -c < /tmp/envfarm-output-1.txt; tail -n 1 /tmp/envfarm-output-2.txt")
    assert check.content == "23893\n9000\n"


async def test_the_spools_of_cut_output_are_removed(call: Call, sandbox: Sandbox) -> None:
    result = await sandbox.run("seq 1 5000", output_limit=1000, spool=True)
    spool = result.stdout_info.spool
    assert spool is not None
    before = set(spool.parent.glob("envfarm-output-*")) - {spool}
    spool.unlink()
    await call("bash", command="seq 1 5000")
    assert set(spool.parent.glob("envfarm-output-*")) <= before


async def test_where_the_whole_output_cannot_be_kept_the_answer_says_so(call: Call, sandbox: Sandbox) -> None:
    await sandbox.run("rm -rf /tmp && touch /tmp")
    result = await call("bash", command="seq 1 5000")
    assert "bytes cut here; the whole of it could not be kept in the sandbox ...]" in result.content
    assert set(result.artifacts) == {"stdout"}


async def test_a_full_disk_of_the_farms_is_no_fault_of_the_command(
    call: Call, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    result = await call("bash", command="yes | head -c 9000000; exit 2")
    assert "of 9000000 bytes cut here; the whole of it could not be kept ...]" in result.content
    assert (result.exit_code, result.truncated, result.artifacts) == (2, True, {})
    assert (await call("bash", command="echo on")).content == "on\n"


async def test_without_room_an_output_is_kept_in_the_sandbox_alone(call: Call) -> None:
    streams = "seq 1 5000; seq 5001 9000 >&2"  # 23893 and 20000 bytes
    rooms: dict[int, set[str]] = {
        43893: {"stdout", "stderr"},
        43892: {"stdout"},
        23892: {"stderr"},
        0: set(),
        -1: set(),
    }
    for room, kept in rooms.items():
        result = await call("bash", command=streams, context={"room": room})
        assert set(result.artifacts) == kept
        assert result.content.count("the farm keeps no copy") == 2 - len(kept)
        assert result.content.count("the whole of it is in /tmp/envfarm-output-") == 2


async def test_a_call_that_an_earlier_process_began_is_not_run_twice(call: Call, sandbox: Sandbox) -> None:
    await sandbox.run("echo once | tee -a /log; exit 4", session="agent", command_id="lost")
    result = await call(
        "bash", command="echo once | tee -a /log; exit 4", context={"command_id": "lost", "resumed": True}
    )
    assert result.content == "once\n[exit code 4]"
    assert await sandbox.read("/log") == b"once\n"


async def test_a_call_that_never_arrived_is_run_when_resumed(call: Call) -> None:
    result = await call("bash", command="echo now", context={"command_id": "never", "resumed": True})
    assert result.content == "now\n"


async def test_a_sandbox_that_died_is_no_answer(call: Call, sandbox: Sandbox) -> None:
    await sandbox.close()
    with pytest.raises(SandboxLost):
        await call("bash", command="true")


async def test_a_bad_call_is_answered_and_runs_nothing(call: Call) -> None:
    result = await call("bash", cmd="true")
    assert result.is_error
    assert "`command` is missing" in result.content
    assert result.exit_code is None


async def test_finish_ends_the_episode_with_its_answer(call: Call) -> None:
    result = await call("finish", answer="42")
    assert (result.finished, result.answer, result.is_error) == (True, "42", False)
