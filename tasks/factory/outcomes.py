"""Runs the tests before and after the fix and works out which of them tell the two apart."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from envfarm.tasks.runners.base import Outcome, Runner
from envfarm.tasks.runners.run import TestRun, root, run_tests
from envfarm.toolbox.errors import TaskError
from envfarm.toolbox.sandboxes.base import Backend, Limits, SandboxSpec

RUNS = 3
MOST = 20
"""Fail-to-pass tests of one file; more of them are a missing feature and not a bug."""

_CHANGING = re.compile(
    r"/tmp/|pytest-of-|0x[0-9a-f]{6,}|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|\b1[6-9]\d{8}(\.\d+)?\b", re.I
)

Outcomes = Mapping[str, Outcome]


class NotSound(TaskError):
    """Two trees that make no task; the message says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """The tests that a task is scored by, and what was left out with the reason."""

    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    left_out: Mapping[str, int]  # reason to number of tests
    failing: tuple[str, ...] = ()  # tests that fail after the fix too
    seconds: float = 0.0  # of one run after the fix


@dataclass(frozen=True, slots=True)
class Bench:
    """What runs the tests: an image with the tests in /verifier/tests and the old release in /testbed."""

    backend: Backend
    image: str
    runner: Runner
    test_paths: Sequence[str]
    fix: bytes
    owner: str = "factory"
    timeout: float = 300.0  # seconds for one run of the whole suite

    async def run(self, *, fixed: bool) -> TestRun:
        """One run in a fresh sandbox without a network. Raises SandboxError."""
        limits = Limits(cpus=1, memory_mb=2048)
        spec = SandboxSpec(image=self.image, network="none", limits=limits, workdir="/testbed", entrypoint=False)
        sandbox = await self.backend.start(spec, owner=self.owner, lease="factory")
        try:
            remove = " ".join(shlex.quote(f"./{path}") for path in self.test_paths)
            await root(sandbox, f"cd /testbed && rm -rf {remove} && cp -a /verifier/tests/. /testbed/")
            if fixed:
                await root(sandbox, "cd /testbed && git apply --whitespace=nowarn -", stdin=self.fix)
            await root(sandbox, "rm -rf /verifier")
            return await run_tests(
                sandbox, self.runner, repository="/testbed", paths=self._paths(), timeout=self.timeout
            )
        finally:
            await sandbox.close()

    def ours(self, file: str) -> bool:
        """Whether the file or package that an id names comes from the task when it is scored."""
        if self.runner.name == "go" or self.runner.is_test(file):  # packages: only _test.go files hold Go's tests
            return True
        return any(file == path or file.startswith(f"{path}/") for path in self.test_paths)

    def _paths(self) -> list[str]:
        """pytest would collect whatever looks like a test anywhere; the others find their own."""
        return [path for path in self.test_paths if "." not in path or path.endswith(".py")] if self._pytest else []

    @property
    def _pytest(self) -> bool:
        return self.runner.name == "pytest"


async def mine(bench: Bench, *, progress: Callable[[str], None] = lambda _: None) -> Found:
    """Three runs of each side. Raises NotSound, SandboxError."""
    after, before = [], []
    last = TestRun()
    for number in range(RUNS):
        progress(f"tests after the fix, run {number + 1} of {RUNS}")
        last = await bench.run(fixed=True)
        _check(last, "with the fix")
        after.append(last.outcomes)
        if not any(outcome == "passed" for outcome in last.outcomes.values()):
            raise NotSound(f"no test passes with the fix: {_tail(last)}")
    for number in range(RUNS):
        progress(f"tests before the fix, run {number + 1} of {RUNS}")
        run = await bench.run(fixed=False)
        _check(run, "without the fix")
        before.append(run.outcomes)
    return replace(sort_out(before, after, ours=bench.ours), seconds=last.seconds)


def sort_out(
    before: Sequence[Outcomes], after: Sequence[Outcomes], *, ours: Callable[[str], bool] = lambda file: True
) -> Found:
    """Fail-to-pass and pass-to-pass by what every run of a side agrees on. Raises NotSound.

    `ours` tells the files that come from the task when it is scored; what the agent may write cannot be trusted.
    """
    left_out: Counter[str] = Counter()
    fail_to_pass: dict[str, list[str]] = {}
    pass_to_pass = []
    ran = {_file(test) for run in before for test in run if test != _file(test)}
    crashed = {_file(test) for run in before for test, outcome in run.items() if outcome == "error"}
    for test in sorted(test for test in set().union(*before, *after) if test != _file(test)):
        old, new = {run.get(test) for run in before}, {run.get(test) for run in after}
        if not ours(_file(test)):
            left_out["in a file that the agent may write"] += 1
        elif None in old and _file(test) in crashed & ran:
            left_out["not run before the fix, because another test crashed"] += 1
        elif reason := _unusable(test, old, new, loads=_file(test) in ran):
            left_out[reason] += 1
        elif old == {"passed"}:
            pass_to_pass.append(test)
        else:
            fail_to_pass.setdefault(_file(test), []).append(test)
    for file in [file for file, found in fail_to_pass.items() if len(found) > MOST]:
        left_out[f"more than {MOST} fail-to-pass in one file (a missing feature)"] += len(fail_to_pass.pop(file))
    chosen = tuple(sorted(test for found in fail_to_pass.values() for test in found))
    if not chosen:
        raise NotSound(f"no test fails before the fix and passes after it{_reasons(left_out)}")
    if not pass_to_pass:
        raise NotSound(f"no test passes before and after the fix{_reasons(left_out)}")
    failing = {test for run in after for test, outcome in run.items() if outcome in ("failed", "error")}
    return Found(chosen, tuple(pass_to_pass), dict(left_out), tuple(sorted(failing)))


def _unusable(test: str, old: set[Outcome | None], new: set[Outcome | None], *, loads: bool) -> str | None:
    """Why a test with these outcomes before and after the fix is in neither list; None when it is in one."""
    if _changes(test) or (old == {None} and None in new):
        return "ids that change from run to run"
    if len(old) > 1 or len(new) > 1:
        return "flaky"
    if new != {"passed"}:
        return "not passed after the fix"
    if old == {"skipped"}:
        return "skipped before the fix"
    return None if loads else "in a file that does not load before the fix"


def _check(run: TestRun, when: str) -> None:
    if run.timed_out:
        raise NotSound(f"the tests hang {when} ({run.problem}); give them longer, or take another pair")
    if run.problem:
        raise NotSound(f"the tests cannot be run {when}: {run.problem}: {_tail(run)}")


def _tail(run: TestRun) -> str:
    lines = [line.strip() for line in run.log.decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-300:] or "they print nothing"


def _file(test: str) -> str:
    return test.partition("::")[0]


def _changes(test: str) -> bool:
    """Whether an id holds a time, a random number or a temporary path, so that it is no id."""
    today = datetime.now(UTC)
    return bool(_CHANGING.search(test)) or today.strftime("%Y-%m-%d") in test or today.strftime("%Y%m%d") in test


def _reasons(left_out: Mapping[str, int]) -> str:
    return (
        " (left out: " + ", ".join(f"{count} {reason}" for reason, count in left_out.items()) + ")" if left_out else ""
    )
