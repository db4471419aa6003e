"""Conformance: what lasts in a session, and what a hostile command can do to it."""

from __future__ import annotations

import pytest

from envfarm.toolbox.sandboxes.base import Sandbox

from .conftest import Start, Variant

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def state(sandbox: Sandbox, session: str) -> list[bytes]:
    result = await sandbox.run('pwd; echo "$KEPT"', session=session)
    assert result.exit_code == 0
    return result.stdout.splitlines()


async def prepared(sandbox: Sandbox, session: str) -> list[bytes]:
    command = "mkdir -p \"it's here\" && cd \"it's here\" && export KEPT=\"a 'b' $(printf '\\377')\""
    assert (await sandbox.run(command, session=session)).exit_code == 0
    return await state(sandbox, session)


async def test_state_lasts(sandbox: Sandbox, session: str, variant: Variant) -> None:
    await sandbox.run("cd /; export A=1; b=2; f() { echo fun $1; }; umask 027", session=session)
    result = await sandbox.run("pwd; echo $A $b; f x; umask", session=session)
    assert result.stdout == b"/\n1 2\nfun x\n0027\n"
    assert not result.session_ended
    other = await sandbox.run('echo "$A$b"; pwd', session=session + "-other")
    assert other.stdout.startswith(b"\n")
    assert (await sandbox.run('echo "$A$b"')).stdout == b"\n"


async def test_user_directory_and_environment_count_when_a_session_starts(sandbox: Sandbox, session: str) -> None:
    first = await sandbox.run("pwd; echo $A", session=session, cwd="/dev", env={"A": "1"})
    again = await sandbox.run("pwd; echo $A", session=session, cwd="/etc", env={"A": "2"})
    assert first.stdout == again.stdout == b"/dev\n1\n"


async def test_exit_ends_the_command_and_keeps_the_session(sandbox: Sandbox, session: str, variant: Variant) -> None:
    before = await prepared(sandbox, session)
    result = await sandbox.run("f() { echo fun; }; echo out; export LATE=1; exit 3; echo never", session=session)
    assert (result.exit_code, result.stdout, result.session_ended) == (3, b"out\n", True)
    assert await state(sandbox, session) == before
    assert (await sandbox.run("echo $LATE", session=session)).stdout == b"1\n"
    if variant.bash:
        assert (await sandbox.run("f", session=session)).stdout == b"fun\n"


@pytest.mark.parametrize(
    "command",
    [
        "kill -9 $$",
        "exec true",
        "exec sh -c 'exit 7'",
        "set -e; false; echo never",
        "trap 'echo trapped' EXIT; exit 4",
        "exec 0<&- 1>&- 2>&-",
        "exec >/dev/null 2>&1; echo nowhere",
        "for i in 3 4 5 6 7 8 9; do eval \"exec $i>&-\"; done",
        "break 99",
        "set -u; echo $not_set_at_all",
        "return 5 2>/dev/null",
        "set -x; PS4='$(echo hostile)'; true",
        "readonly __envfarm __envfarm_end",
        "alias cd='echo no' ls='echo no'",
        "printf() { echo hostile; }; read() { false; }; eval() { false; }; test() { false; }",
        "cd() { false; }; echo() { false; }; exit() { :; }; trap() { :; }; declare() { :; }; unset -f echo cd",
        "PS1=x IFS=abcdefghijklmnopqrstuvwxyz0123456789",
        "IFS=; PATH=/nowhere",
        "export LANG=xx_YY.UTF-8 LC_ALL=C.UTF-8",
        "ulimit -n 256",
        "trap '' TERM INT HUP; trap 'x=1' USR1",
        "set -f -C -v -a; set +o braceexpand 2>/dev/null",
        "cd /tmp && mkdir -p gone-$$ && cd gone-$$ && rmdir ../gone-$$ && cd ..",
        "unset HOME PATH PWD OLDPWD IFS",
        "exec 1>&2 2>&1",
    ],
)  # fmt: skip
async def test_a_session_outlives_whatever_a_command_does(sandbox: Sandbox, session: str, command: str) -> None:
    await sandbox.run("export KEPT=yes", session=session)
    result = await sandbox.run(command, session=session, timeout=20)
    assert not result.timed_out
    after = await sandbox.run(
        "unset IFS; PATH=/usr/bin:/bin; echo out; echo err >&2; sh -c 'exit 6'", session=session, timeout=20
    )
    assert (after.exit_code, after.stdout) == (6, b"out\n")
    assert b"err\n" in after.stderr
    last = await sandbox.run('echo "$KEPT"; expr 1 + 1', session=session, timeout=20)
    assert last.stdout == b"yes\n2\n"


async def test_bash_traps_do_not_reach_the_farms_own_output(sandbox: Sandbox, session: str, variant: Variant) -> None:
    if not variant.bash:
        pytest.skip("only bash has traps on DEBUG, ERR and RETURN")
    await sandbox.run("trap 'echo D' DEBUG; trap 'echo E' ERR; trap 'echo R' RETURN; set -T -E", session=session)
    result = await sandbox.run("true", session=session)
    assert result.stdout == b"D\n"
    await sandbox.run("trap - DEBUG ERR RETURN; shopt -s expand_aliases extdebug; alias builtin=false", session=session)
    assert (await sandbox.run("echo still", session=session)).stdout == b"still\n"


async def test_a_shell_without_its_builtins_is_replaced(sandbox: Sandbox, session: str, variant: Variant) -> None:
    if not variant.bash:
        pytest.skip("only bash has `builtin`, and no other shell's session relies on it")
    await sandbox.run("cd /usr; export KEPT=1", session=session)
    hostile = "builtin() { :; }; unset() { :; }; command() { :; }"
    result = await sandbox.run(f"{hostile}; echo out", session=session, timeout=2)
    assert result.stdout == b"out\n"
    assert (await sandbox.run("echo back", session=session, timeout=30)).stdout == b"back\n"
    noexec = await sandbox.run("set -n", session=session, timeout=2)
    assert noexec.timed_out
    assert (await sandbox.run("echo back", session=session, timeout=30)).stdout == b"back\n"


@pytest.mark.usefixtures("contained")
async def test_a_command_that_kills_everything(sandbox: Sandbox, session: str) -> None:
    before = await prepared(sandbox, session)
    await sandbox.run("sleep 100 & kill -9 -1; echo survived", session=session, timeout=30)
    assert await state(sandbox, session) == before
    await sandbox.run("kill -9 $PPID; kill -9 $$", session=session, timeout=30)
    assert await state(sandbox, session) == before
    result = await sandbox.run("kill -9 $PPID; kill -9 $$", timeout=30)
    assert result.exit_code == 137


async def test_the_main_process_cannot_be_killed_from_inside(
    sandbox: Sandbox, session: str, contained: Variant
) -> None:
    if contained.spec.isolation == "gvisor":
        pytest.skip("gVisor lets root kill process 1 of its container; that ends the sandbox (test_loss)")
    before = await prepared(sandbox, session)
    assert (await sandbox.run("kill -9 1; kill -9 -1; sleep 1; echo alive", timeout=30)).exit_code in (0, 137)
    assert await state(sandbox, session) == before


async def test_nothing_of_the_farm_shows(sandbox: Sandbox, session: str, variant: Variant) -> None:
    for where in (None, session):
        names = (await sandbox.run("env", session=where)).stdout
        assert b"envfarm" not in names.lower()
        if variant.isolated:  # else there are the files of other farms on this machine
            left = await sandbox.run("ls -a \"${TMPDIR:-/tmp}\" /dev/shm | grep '^.envfarm'", session=where)
            assert left.stdout == b""
        open_files = await sandbox.run("ls /proc/self/fd | wc -l", session=where)
        assert int(open_files.stdout) <= 4


async def test_many_sessions(sandbox: Sandbox, session: str) -> None:
    for i in range(12):
        await sandbox.run(f"export N={i}", session=f"{session}-{i}")
    for i in range(12):
        assert (await sandbox.run("echo $N", session=f"{session}-{i}")).stdout == b"%d\n" % i


async def test_a_sandbox_whose_shell_was_removed(isolated: Variant, start: Start) -> None:
    if isolated.name == "docker-busybox":
        pytest.skip("busybox starts its shell from its own memory, which nothing in the sandbox can remove")
    sandbox = await start()
    ended = await sandbox.run("for p in bash sh busybox; do rm -f $(command -v $p); done; exit 3", session="agent")
    assert ended.exit_code == 3
    result = await sandbox.run("echo hi", session="agent")
    assert (result.exit_code, result.stdout, result.session_ended) == (127, b"", True)
    assert b"no shell starts" in result.stderr
