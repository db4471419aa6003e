"""One run of a repository's tests in a sandbox: unprivileged, with a report where nobody could wait for it."""

from __future__ import annotations

import asyncio
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from envfarm.tasks.runners.base import Outcome, Runner
from envfarm.toolbox.errors import SandboxError
from envfarm.toolbox.sandboxes.base import ExecResult, Sandbox

USER = "nobody"
REPORT_LIMIT = 8 << 20  # bytes
LOG_LIMIT = 1 << 20  # bytes of each stream
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(slots=True)
class TestRun:
    """What one run of the tests left. `problem` says why there are no outcomes, when there are none."""

    __test__ = False  # not one of pytest's

    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    exit_code: int | None = None
    report: bytes = b""
    log: bytes = b""
    problem: str | None = None
    timed_out: bool = False
    seconds: float = 0.0


async def run_tests(
    sandbox: Sandbox, runner: Runner, *, repository: str, paths: Sequence[str], timeout: float
) -> TestRun:
    """Run test paths (all when empty) as `nobody`, who is given the repository; `timeout` is in seconds.

    The sandbox should have no network and be thrown away afterwards. Raises SandboxError for a fault of the farm.
    """
    place = f"/tmp/{secrets.token_hex(12)}"
    await root(
        sandbox,
        f"mkdir -m 700 {place} && chown {USER} {place} && chown -R -h {USER} {shlex.quote(repository)} "
        f'&& parent={shlex.quote(repository)} && while [ "$parent" != / ]; do '
        'parent=$(dirname "$parent"); chmod a+x "$parent"; done',
    )
    report = f"{place}/report"
    env = {"HOME": place, "LANG": "C.UTF-8", **runner.env}
    result = await sandbox.run(
        runner.command(paths, report), timeout=timeout, user=USER, cwd=repository, env=env, output_limit=LOG_LIMIT
    )
    await sandbox.kill_all()
    run = TestRun(exit_code=result.exit_code, log=_log(result), timed_out=result.timed_out, seconds=result.seconds)
    if result.timed_out:
        run.problem = f"the tests did not end within {timeout:g} s"
        return run
    await _read(sandbox, runner, report, run)
    return run


async def _read(sandbox: Sandbox, runner: Runner, report: str, run: TestRun) -> None:
    # Read as the tests' own user, who may have put a link there to what only root can read.
    found = await sandbox.run(f"cat {report}", user=USER, timeout=60, output_limit=REPORT_LIMIT)
    if found.exit_code != 0:
        run.problem = "the tests left no report"
    elif found.truncated:
        run.problem = f"the report is larger than {REPORT_LIMIT >> 20} MiB"
    else:
        run.report = found.stdout
        try:
            run.outcomes = await asyncio.to_thread(runner.parse, found.stdout)
        except ValueError as error:
            run.problem = f"the report cannot be read: {error}"


async def root(sandbox: Sandbox, script: str, *, timeout: float = 120.0, stdin: bytes | None = None) -> ExecResult:
    """A step of the farm's own in a sandbox that no agent has touched. Raises SandboxError when it fails."""
    result = await sandbox.run(script, user="root", cwd="/", env={"PATH": PATH}, timeout=timeout, stdin=stdin)
    if result.exit_code != 0:
        why = result.stderr.decode(errors="replace").strip()[-300:] or f"exit code {result.exit_code}"
        raise SandboxError(f"a step of the verifier failed: {why}")
    return result


def _log(result: ExecResult) -> bytes:
    return result.stdout + (b"\n" if result.stdout and result.stderr else b"") + result.stderr
