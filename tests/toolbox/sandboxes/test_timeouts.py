"""Conformance: time-outs, left-over processes, cancellation, fork bombs."""

from __future__ import annotations

import asyncio

import pytest

from envfarm.toolbox.errors import SandboxLost
from envfarm.toolbox.sandboxes.base import Limits, Sandbox

from .conftest import Start, Variant

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def none_left(sandbox: Sandbox) -> bool:
    """Whether every process that is not the farm's own has gone, at once or very soon."""
    for _ in range(50):
        if not await sandbox.processes():
            return True
        await asyncio.sleep(0.1)
    return False


async def test_a_timeout_returns_what_was_printed(sandbox: Sandbox, session: str) -> None:
    for where in (None, session):
        result = await sandbox.run("echo out; echo err >&2; sleep 100; echo never", session=where, timeout=1)
        assert (result.exit_code, result.timed_out) == (None, True)
        assert (result.stdout, result.stderr) == (b"out\n", b"err\n")
        assert 1 <= result.seconds < 20
        assert await none_left(sandbox)


@pytest.mark.parametrize(
    "leaves",
    [
        "sleep 1000 & sleep 1000",
        "(sleep 1000 &); sleep 1000",
        "nohup sleep 1000 >/dev/null 2>&1 & sleep 1000",
        "setsid sleep 1000 & sleep 1000",
        "(setsid sh -c '(setsid sleep 1000 &) ; sleep 1000' &); sleep 1000",
        "trap '' TERM INT HUP QUIT; while :; do sleep 1000; done",
        "sh -c 'trap \"\" TERM; (while :; do sleep 0.01; done) & while :; do :; done'",
        "sh -c 'kill -STOP $$'",
        "exec sleep 1000",
        "cat /dev/zero >/dev/null",
        "while :; do :; done",
        "(sh -c 'sleep 1000' &) | cat",
    ],
)
async def test_a_timeout_kills_every_descendant(sandbox: Sandbox, session: str, leaves: str) -> None:
    for where in (None, session):
        result = await sandbox.run(leaves, session=where, timeout=0.7)
        assert result.timed_out
        assert await none_left(sandbox)
    assert (await sandbox.run("echo here", session=session)).stdout == b"here\n"


async def test_earlier_services_outlive_a_timeout(sandbox: Sandbox, session: str) -> None:
    await sandbox.run("cd /dev; export KEPT=1; sleep 1000 & (setsid sleep 1001 >/dev/null 2>&1 &)", session=session)
    services = await sandbox.processes()
    assert len(services) >= 2
    await asyncio.sleep(0.05)  # the kernel counts births in ticks of 10 ms
    result = await sandbox.run("(setsid sleep 1002 &); sleep 1003", session=session, timeout=0.7)
    assert result.timed_out
    assert sorted(await sandbox.processes()) == sorted(services)
    assert (await sandbox.run("pwd; echo $KEPT", session=session)).stdout == b"/dev\n1\n"
    await sandbox.kill_all()
    assert await none_left(sandbox)


async def test_kill_all_ends_sessions_too(sandbox: Sandbox, session: str) -> None:
    await sandbox.run("export GONE=1; sleep 1000 &", session=session)
    await sandbox.kill_all()
    assert await none_left(sandbox)
    assert (await sandbox.run('echo "<$GONE>"', session=session)).stdout == b"<>\n"


async def test_a_cancelled_call_stops_its_command(sandbox: Sandbox, session: str) -> None:
    for where in (None, session):
        call = asyncio.create_task(sandbox.run("sleep 0.5; echo late; echo late >&2; sleep 1000", session=where))
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        result = await sandbox.run("echo next", session=where, timeout=20)
        assert (result.stdout, result.stderr) == (b"next\n", b"")
        assert await none_left(sandbox)


async def test_a_cancelled_upload_leaves_the_stream_whole(sandbox: Sandbox) -> None:
    call = asyncio.create_task(sandbox.run("cat >/dev/null", stdin=b"@ kill \n" * (1 << 20)))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await sandbox.run("echo next", timeout=60)).stdout == b"next\n"
    assert (await sandbox.run("ls -a \"${TMPDIR:-/tmp}\" | grep '^.envfarm'")).stdout == b""


async def test_many_short_timeouts(sandbox: Sandbox, session: str) -> None:
    for i in range(10):
        result = await sandbox.run("sleep 1000", session=session, timeout=0.01 * i)
        assert result.timed_out
    assert (await sandbox.run("echo fine", session=session)).stdout == b"fine\n"


async def test_a_fork_bomb_meets_the_limit_and_ends_at_its_timeout(
    isolated: Variant, start: Start, session: str
) -> None:
    sandbox = await start(limits=Limits(cpus=1, memory_mb=512, pids=64))
    await sandbox.run("export KEPT=1", session=session)
    if isolated.spec.isolation == "gvisor":  # its own kernel meets the host's limit, and dies of it
        with pytest.raises(SandboxLost) as error:
            await sandbox.run("b() { b | b & b; }; b 2>/dev/null; sleep 100", timeout=30)
        assert error.value.cause == "killed"
        return
    for where in (None, session):
        bomb = "b() { b | b & b; }; b 2>/dev/null; while :; do (sleep 100 &) ; done 2>/dev/null"
        result = await sandbox.run(bomb, session=where, timeout=3, output_limit=1000)
        assert result.timed_out or result.exit_code != 0
        await sandbox.kill_all() if where is None else None
        assert await none_left(sandbox)
    assert (await sandbox.run("echo lives", timeout=30)).stdout == b"lives\n"
    assert (await sandbox.run("echo $KEPT", session=session, timeout=30)).exit_code == 0


async def test_time_outs_in_a_sandboxs_first_second(start: Start) -> None:
    sandbox = await start()
    for _ in range(10):
        assert (await sandbox.run("sleep 60", timeout=0.02)).timed_out
    assert (await sandbox.run("echo alive")).stdout == b"alive\n"
