"""Conformance: bytes that root in the sandbox puts among the farm's frames, or takes away, do not end the sandbox."""

from __future__ import annotations

import os
import shlex

import pytest

from envfarm.toolbox.sandboxes.base import Sandbox

from .conftest import Variant

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = "/proc/1/fd/0"


async def all_is_well(sandbox: Sandbox, session: str) -> None:
    """Whether commands and files work as ever, and the session is the one that it was."""
    result = await sandbox.run('echo "out $KEPT"; echo err >&2; exit 3', session=session, timeout=120)
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out yes\n", b"err\n")
    assert (await sandbox.run("echo alone", timeout=120)).stdout == b"alone\n"
    data = os.urandom(100_000)
    await sandbox.write("foreign", data)
    assert await sandbox.read("foreign") == data


async def reachable(sandbox: Sandbox) -> None:
    if (await sandbox.run(f": >>{FRAMES}")).exit_code != 0:
        pytest.skip("the main process's input is no pipe here, and nobody else can open it")


@pytest.mark.parametrize(
    "foreign",
    [
        "x",
        "\n",
        "@000000",
        "@ \n",
        "no frame at all " * 40,
        "@000000 run 00 3000 1 - -".ljust(127) + "\n",
        "@000000 send 00 3000 3000 0 -".ljust(127) + "\n",
        "@000000 run 00 99999999999999999999 0 - -".ljust(127) + "\n",
        "@000000 spool 00 3000 0 - -".ljust(127) + "\n",
        "@000000 spool 00 99999999 0 - -".ljust(127) + "\n",
        "@000000 open 00 4 1 1;exit -".ljust(127) + "\n:\n00",
        "@fedcba hello 00 0 0 - -".ljust(127) + "\n",
        "@000000 look 00 0 0 $((1/0)) ../../tmp".ljust(127) + "\n",
    ],
)
async def test_bytes_that_were_put_there(isolated: Variant, sandbox: Sandbox, session: str, foreign: str) -> None:
    await reachable(sandbox)
    await sandbox.run(f"export KEPT=yes; printf %s {shlex.quote(foreign)} >>{FRAMES}", session=session)
    await all_is_well(sandbox, session)


@pytest.mark.parametrize("count", [1, 100, 1000])
async def test_bytes_that_were_taken_away(isolated: Variant, sandbox: Sandbox, session: str, count: int) -> None:
    await reachable(sandbox)
    thief = f"dd if={FRAMES} of=/dev/null bs={count} count=1 2>/dev/null"
    await sandbox.run(f"export KEPT=yes; {thief} & sleep 0.2", session=session)
    await all_is_well(sandbox, session)
