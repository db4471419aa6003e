"""The trusted run of a repository's tests: pristine code, the agent's allowed changes, the task's tests in line-ups."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from envfarm.envs.base import TAKEN_DOWN, FreshSandboxes
from envfarm.envs.canaries import LANGUAGES, Planted, Suite, plant
from envfarm.envs.canaries.base import Swap
from envfarm.envs.canaries.trial import constant, prove
from envfarm.envs.changes import Changes, Entry
from envfarm.envs.lessons import Lesson, Solve
from envfarm.envs.pristine import Pristine
from envfarm.envs.protect import allowed, protection
from envfarm.envs.trees import lay
from envfarm.tasks.runners.base import Outcome, Runner
from envfarm.tasks.runners.run import TestRun, root, run_tests
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import SandboxError, SandboxLost, TaskError
from envfarm.toolbox.sandboxes.base import SandboxSpec

log = logging.getLogger(__name__)

RUNS = 2
"""Runs that a full mark takes. Nothing but luck tells one from the other."""

WORDS = 1 << 20  # bytes of the repository's sources that names are made of


@dataclass(slots=True)
class Verdict:
    """What the tests say of a change."""

    share_f2p: float = 0.0
    share_p2p: float = 0.0
    resolved: bool = False
    forged: str | None = None  # what shows that the report is not true
    problem: str | None = None  # why the tests could not be judged, through the change's own doing
    astray: str | None = None  # a test that a line-up makes fail, whatever the change
    runs: list[TestRun] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)  # as they were laid, with what was left out
    pristine: Mapping[str, Entry] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)  # expected tests that did not pass
    planted: list[Planted] = field(default_factory=list)  # for each run

    def known(self) -> set[str]:
        """Tests that a run had under their own names."""
        return {lineup.test for planted in self.planted for lineup in planted.lineups if lineup.true == lineup.test}


@dataclass(slots=True)
class _Bench:
    """What all runs share."""

    task: Task
    runner: Runner
    spec: SandboxSpec
    fresh: FreshSandboxes
    image: Pristine
    changes: Changes


async def verify(
    task: Task,
    runner: Runner,
    changes: Changes,
    pristine: Pristine,
    spec: SandboxSpec,
    fresh: FreshSandboxes,
    lesson: Lesson,
    solve: Solve,
    rng: random.Random,
) -> Verdict:
    """Run the expected tests on a change in line-ups, and again in others as long as all of them pass.

    Raises SandboxError for a fault of the farm, TaskError for a task that cannot be scored.
    """
    _check(task, runner, pristine)
    kept = await asyncio.to_thread(allowed, changes, pristine.tree, protection(task, runner, pristine.tests.keys()))
    bench = _Bench(task, runner, spec, fresh, pristine, kept)
    suite = await asyncio.to_thread(_suite, bench)
    swaps = await lesson.swaps.learn(lambda: _swaps(bench, suite, solve, rng))
    suite = replace(suite, swaps=swaps)
    verdict = await _verdict(bench, replace(suite, solo=lesson.solo.value), rng)
    if not verdict.resolved and not lesson.solo.known:
        solo = await lesson.solo.learn(lambda: _solo(bench, suite, solve, rng))
        if solo:
            verdict = await _verdict(bench, replace(suite, solo=solo), rng)
    if verdict.astray is not None:
        raise SandboxError(f"{verdict.astray} does not pass under another name on the untouched code either")
    return verdict


async def _swaps(bench: _Bench, suite: Suite, solve: Solve, rng: random.Random) -> Mapping[str, Sequence[Swap]]:
    """Wrong values with which the task's solution fails, for the tests that have none that is plain to see."""
    kept = await _solution(bench, solve) if await asyncio.to_thread(constant, suite, rng) else None
    if kept is None:
        return {}

    async def attempt(planted: Planted) -> Mapping[str, Outcome] | None:
        run = await _run(bench, planted, kept, [lineup.test for lineup in planted.lineups])
        return run.outcomes if _problem(bench.runner, run) is None else None

    return await prove(suite, rng, attempt)


async def _solution(bench: _Bench, solve: Solve) -> Changes | None:
    """What of the task's solution may be laid over the pristine tree."""
    changes = await solve()
    if changes is None:
        return None
    guard = protection(bench.task, bench.runner, bench.image.tests.keys())
    return await asyncio.to_thread(allowed, changes, bench.image.tree, guard)


async def _solo(bench: _Bench, suite: Suite, solve: Solve, rng: random.Random) -> frozenset[str]:
    """Tests that the task's solution does not pass in a line-up, though it should."""
    kept = await _solution(bench, solve)
    if kept is None:
        return frozenset()
    planted = await asyncio.to_thread(plant, suite, rng, hard=True)
    run = await _run(bench, planted, kept)
    if _problem(bench.runner, run) is not None:
        every = frozenset(lineup.test for lineup in planted.lineups)
        alone = await _run(bench, await asyncio.to_thread(plant, replace(suite, solo=every), rng), kept)
        if (fault := _problem(bench.runner, alone)) is not None:
            raise SandboxError(f"the tests cannot be run on the task's own solution either: {fault}")
        return every
    wrong = {*planted.wrong(run.outcomes), *_failed(bench.task, planted.own(run.outcomes))}
    return frozenset(lineup.test for test in wrong if (lineup := planted.lineup(test)) is not None)


async def _verdict(bench: _Bench, suite: Suite, rng: random.Random) -> Verdict:
    verdict = Verdict(changes=bench.changes, pristine=bench.image.tree)
    for _ in range(RUNS):
        planted = await asyncio.to_thread(plant, suite, rng, verdict.known())
        run = await _run(bench, planted, bench.changes)
        verdict.planted.append(planted)
        verdict.runs.append(run)
        await _suspect(bench, planted, run, verdict)
        if verdict.forged or verdict.problem:
            verdict.resolved = False
            break
        _judge(bench.task, planted.own(run.outcomes), verdict)
        if not verdict.resolved:
            break
    return verdict


def _check(task: Task, runner: Runner, pristine: Pristine) -> None:
    """Whether the expected tests are out of the agent's reach. Raises TaskError."""
    farm = task.config.envfarm
    if not farm.fail_to_pass:
        raise TaskError(f"{task.path}/task.toml: [envfarm] fail_to_pass: names no test, so nothing could be scored")
    guard = protection(task, runner, pristine.tests.keys())
    for test in (*farm.fail_to_pass, *farm.pass_to_pass):
        if runner.name != "go" and not guard.covers(test.partition("::")[0]):
            raise TaskError(
                f"{task.path}/task.toml: {test} is in a file that the agent may write: add the file to "
                "[envfarm] test_paths, or leave the test out"
            )


async def _suspect(bench: _Bench, planted: Planted, run: TestRun, verdict: Verdict) -> None:
    """Say what is wrong with a run, if it is the change's doing: the same files run on the untouched code as well.

    Canaries that come out wrong there too show nothing, and a run that has a problem there too is a fault of the farm.
    So is a pass-to-pass test that fails there under another name than its own: it cannot stand in a line-up.
    """
    problem = _problem(bench.runner, run)
    wrong = await asyncio.to_thread(planted.wrong, run.outcomes) if not run.problem else {}
    failed = [] if run.problem else _failed(bench.task, planted.own(run.outcomes))
    astray = [test for test in failed if test in bench.task.config.envfarm.pass_to_pass and planted.moved(test)]
    # Where another test failed as well the verdict is clear.
    if not wrong and not problem and (not astray or len(astray) < len(failed)):
        return
    control = await _run(bench, planted, Changes())
    if (fault := _problem(bench.runner, control)) is not None:
        raise SandboxError(f"the tests cannot be run on the untouched code either: {fault}")
    missed = sorted({*astray}.intersection(_failed(bench.task, planted.own(control.outcomes))))
    verdict.astray = missed[0] if missed else None
    bad = await asyncio.to_thread(planted.wrong, control.outcomes)
    verdict.forged = next((sentence for test, sentence in wrong.items() if test not in bad), None)
    verdict.problem = None if verdict.forged else problem


def _problem(runner: Runner, run: TestRun) -> str | None:
    """Why a run cannot be judged, be it the fault of the code or of the farm."""
    if run.problem is None and run.exit_code is not None and not runner.agrees(run.outcomes, run.exit_code):
        return f"the report and the exit status {run.exit_code} contradict each other"
    return run.problem


def _suite(bench: _Bench) -> Suite:
    """The test files that hold the expected tests, and the repository's text in the same language."""
    farm, image = bench.task.config.envfarm, bench.image
    tests = (*farm.fail_to_pass, *farm.pass_to_pass)
    wanted = {test.partition("::")[0] for test in tests}
    files: dict[str, str] = {}
    helpers: dict[str, str] = {}
    places: dict[str, str] = {}
    for path, entry in {**image.tree, **image.tests}.items():
        if entry.kind == "file" and (path in image.tests or bench.runner.is_test(path)):
            place = _place(bench, path)
            try:
                (files if place in wanted else helpers)[path] = entry.data.decode()
            except UnicodeDecodeError:
                continue
            places[path] = place
    endings = {PurePosixPath(path).suffix for path in files}
    helpers = {path: text for path, text in helpers.items() if PurePosixPath(path).suffix in endings}
    sources = [entry.data for path, entry in image.tree.items() if PurePosixPath(path).suffix in endings]
    words = b"\n".join(sources)[:WORDS].decode(errors="replace")
    return Suite(LANGUAGES[bench.runner.name], files, places, farm.fail_to_pass, tests, helpers, words)


def _place(bench: _Bench, path: str) -> str:
    """With what the ids of a file's tests begin: the file, or for Go the import path of its package."""
    if bench.runner.name != "go":
        return path
    if not path.endswith("_test.go"):
        return ""
    folder = path.rpartition("/")[0]
    while True:  # the nearest go.mod above it
        entry = bench.image.tree.get(f"{folder}/go.mod".lstrip("/"))
        if entry is not None or not folder:
            break
        folder = folder.rpartition("/")[0]
    lines = (entry.data if entry else b"").decode(errors="replace").splitlines()
    module = next((line.split()[1].strip('"') for line in lines if line.startswith("module ")), "")
    below = path.rpartition("/")[0].removeprefix(folder).strip("/")
    return f"{module}/{below}" if below else module


async def _run(
    bench: _Bench, planted: Planted, changes: Changes, tests: Sequence[str] = (), *, again: bool = True
) -> TestRun:
    """Run the paths of these tests, else of all; what takes two sandboxes down in a row has that as its problem."""
    try:
        return await _once(bench, planted, changes, tests)
    except SandboxLost as error:
        if error.cause not in TAKEN_DOWN:
            raise
        log.warning("%s: the tests' sandbox was lost: %s", bench.task.id, error)
        if not again:
            return TestRun(problem=f"the tests took their sandbox down ({error.cause})")
    return await _run(bench, planted, changes, tests, again=False)


async def _once(bench: _Bench, planted: Planted, changes: Changes, tests: Sequence[str]) -> TestRun:
    """Lay everything out in a fresh sandbox, where nothing else is ever done, and run the tests' paths."""
    farm, image = bench.task.config.envfarm, bench.image
    written = {**changes.written, **image.tests}
    for path, data in planted.files.items():
        old = written.get(path) or image.tree.get(path)
        written[path] = Entry("file", data, old.executable if old else False)
    old_tests = [path for path in image.tree if _below(path, farm.test_paths)] if image.tests else []
    deleted = [path for path in (*changes.deleted, *old_tests) if path not in written]
    new = [path for path in planted.files if path not in image.tests and path not in image.tree]
    places = {_place(bench, path) for path in new}
    tests = tests or (*farm.fail_to_pass, *farm.pass_to_pass)
    async with bench.fresh(bench.spec) as sandbox:
        await lay(sandbox, farm.repository, written, deleted)
        await root(sandbox, "rm -rf /verifier")
        return await run_tests(
            sandbox,
            bench.runner,
            repository=farm.repository,
            paths=bench.runner.paths([*tests, *(f"{place}::" for place in places)]),
            timeout=bench.task.config.verifier.timeout_sec,
        )


def _below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in (place.strip("/") for place in places))


def _judge(task: Task, outcomes: Mapping[str, Outcome], verdict: Verdict) -> None:
    farm = task.config.envfarm
    verdict.failed = _failed(task, outcomes)
    verdict.share_f2p = _share(farm.fail_to_pass, outcomes)
    verdict.share_p2p = _share(farm.pass_to_pass, outcomes)
    verdict.resolved = not verdict.failed


def _failed(task: Task, outcomes: Mapping[str, Outcome]) -> list[str]:
    farm = task.config.envfarm
    return [test for test in (*farm.fail_to_pass, *farm.pass_to_pass) if outcomes.get(test) != "passed"]


def _share(tests: Sequence[str], outcomes: Mapping[str, Outcome]) -> float:
    return sum(outcomes.get(test) == "passed" for test in tests) / len(tests) if tests else 1.0


def new_rng() -> random.Random:
    """Randomness that nobody could have known while the agent worked."""
    return random.Random(secrets.randbits(256))
