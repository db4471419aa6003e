"""The trusted run of a repository's tests: pristine code, the agent's allowed changes, the task's tests, canaries."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from envfarm.envs.base import FreshSandboxes
from envfarm.envs.canaries import LANGUAGES, Planted, canaries, decoys
from envfarm.envs.changes import BUILT, Changes, Entry
from envfarm.envs.protect import allowed, protection
from envfarm.envs.trees import fetch_tree, lay
from envfarm.tasks.runners.base import Outcome, Runner
from envfarm.tasks.runners.run import TestRun, root, run_tests
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import SandboxError, SandboxSilent, TaskError
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec

TESTS = "/verifier/tests"
"""Where the verifier's image keeps the task's test files, by their paths in the repository; root's alone."""


@dataclass(slots=True)
class Verdict:
    """What the tests say of a change."""

    share_f2p: float = 0.0
    share_p2p: float = 0.0
    resolved: bool = False
    forged: str | None = None  # what shows that the report is not true
    problem: str | None = None  # why the tests could not be judged, through the change's own doing
    runs: list[TestRun] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)  # as they were laid, with what was left out
    pristine: Mapping[str, Entry] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)  # expected tests that did not pass
    planted: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Bench:
    """What both runs share."""

    task: Task
    runner: Runner
    spec: SandboxSpec
    fresh: FreshSandboxes
    pristine: Mapping[str, Entry]
    tests: Mapping[str, Entry]
    changes: Changes

    @property
    def repository(self) -> str:
        return self.task.config.envfarm.repository


async def verify(
    task: Task, runner: Runner, changes: Changes, spec: SandboxSpec, fresh: FreshSandboxes, rng: random.Random
) -> Verdict:
    """Run the expected tests on a change, then once more with decoys if all of them passed.

    Raises SandboxError for a fault of the farm, TaskError for a task that cannot be scored.
    """
    farm = task.config.envfarm
    if not farm.fail_to_pass:
        raise TaskError(f"{task.path}/task.toml: [envfarm] fail_to_pass: names no test, so nothing could be scored")
    async with fresh(spec) as sandbox:
        bench = await _prepare(task, runner, changes, spec, fresh, sandbox)
        planted = await asyncio.to_thread(_plant, bench, canaries, rng)
        run = await _run(bench, sandbox, planted, bench.changes)
    verdict = Verdict(runs=[run], changes=bench.changes, pristine=bench.pristine)
    verdict.planted = {"canaries_must_fail": sorted(planted.must_fail), "canaries_must_pass": sorted(planted.must_pass)}
    await _suspect(bench, planted, run, verdict, complete=True)
    if not verdict.forged and not verdict.problem:
        _judge(task, run, verdict)
    if verdict.resolved:
        await _decoy_run(bench, verdict, rng)
    return verdict


async def _decoy_run(bench: _Bench, verdict: Verdict, rng: random.Random) -> None:
    planted = await asyncio.to_thread(_plant, bench, decoys, rng)
    expected = {test.partition("[")[0] for test in bench.task.config.envfarm.fail_to_pass}
    verdict.planted["decoys"] = sorted(expected & planted.must_fail.keys())
    async with bench.fresh(bench.spec) as sandbox:
        run = await _run(bench, sandbox, planted, bench.changes)
    verdict.runs.append(run)
    # A body that meets a wrong expectation may take its process with it, and all that comes after.
    await _suspect(bench, planted, run, verdict, complete=False)
    verdict.resolved = not verdict.forged and not verdict.problem


async def _suspect(bench: _Bench, planted: Planted, run: TestRun, verdict: Verdict, *, complete: bool) -> None:
    """Say what is wrong with a run, if it is the change's doing: the same files run on the untouched code as well.

    Canaries that come out wrong there too show nothing, and a run that has a problem there too is a fault of the farm.
    """
    problem = _problem(bench.runner, run)
    wrong = await asyncio.to_thread(planted.wrong, run.outcomes, complete=complete) if not run.problem else {}
    if not wrong and not problem:
        return
    async with bench.fresh(bench.spec) as sandbox:
        control = await _run(bench, sandbox, planted, Changes())
    if (fault := _problem(bench.runner, control)) is not None:
        raise SandboxError(f"the tests cannot be run on the untouched code either: {fault}")
    planted.strike(await asyncio.to_thread(planted.wrong, control.outcomes, complete=complete))
    verdict.forged = next((sentence for test, sentence in wrong.items() if planted.knows(test)), None)
    verdict.problem = None if verdict.forged else problem


def _problem(runner: Runner, run: TestRun) -> str | None:
    """Why a run cannot be judged, be it the fault of the code or of the farm."""
    if run.problem is None and run.exit_code is not None and not runner.agrees(run.outcomes, run.exit_code):
        return f"the report and the exit status {run.exit_code} contradict each other"
    return run.problem


async def _prepare(
    task: Task, runner: Runner, changes: Changes, spec: SandboxSpec, fresh: FreshSandboxes, sandbox: Sandbox
) -> _Bench:
    pristine = await pristine_tree(task, runner, sandbox)
    try:
        tests = await fetch_tree(sandbox, TESTS)
    except ValueError:
        tests = {}  # the image has none of its own: those of the repository are the task's
    guard = protection(task, runner, tests.keys())
    for test in (*task.config.envfarm.fail_to_pass, *task.config.envfarm.pass_to_pass):
        if runner.name != "go" and not guard.covers(test.partition("::")[0]):
            raise TaskError(
                f"{task.path}/task.toml: {test} is in a file that the agent may write: add the file to "
                "[envfarm] test_paths, or leave the test out"
            )
    kept = await asyncio.to_thread(allowed, changes, pristine, guard)
    return _Bench(task, runner, spec, fresh, pristine, tests, kept)


async def pristine_tree(task: Task, runner: Runner, sandbox: Sandbox) -> dict[str, Entry]:
    """The repository as the verifier's image has it, which is as the agent found it."""
    repository = task.config.envfarm.repository
    try:
        return await fetch_tree(sandbox, repository, skip=BUILT.get(runner.name, ()))
    except (ValueError, SandboxSilent) as error:
        raise SandboxError(f"the verifier's image has no repository that can be read: {error}") from None


def _plant(bench: _Bench, make: Callable[..., Planted], rng: random.Random) -> Planted:
    """Make canaries, or canaries and decoys, in the test files that hold the expected tests."""
    farm = bench.task.config.envfarm
    tests = (*farm.fail_to_pass, *farm.pass_to_pass)
    final = {**bench.pristine, **bench.tests}
    wanted = {test.partition("::")[0] for test in tests}
    files, places = {}, {}
    for path, entry in final.items():
        place = _place(bench, path)
        if place in wanted and entry.kind == "file" and (path in bench.tests or bench.runner.is_test(path)):
            try:
                files[path] = entry.data.decode()
            except UnicodeDecodeError:
                continue
            places[path] = place
    return make(LANGUAGES[bench.runner.name], files, places, farm.fail_to_pass, tests, rng)


def _place(bench: _Bench, path: str) -> str:
    """With what the ids of a file's tests begin: the file, or for Go the import path of its package."""
    if bench.runner.name != "go":
        return path
    if not path.endswith("_test.go"):
        return ""
    folder = path.rpartition("/")[0]
    while True:  # the nearest go.mod above it
        entry = bench.pristine.get(f"{folder}/go.mod".lstrip("/"))
        if entry is not None or not folder:
            break
        folder = folder.rpartition("/")[0]
    lines = (entry.data if entry else b"").decode(errors="replace").splitlines()
    module = next((line.split()[1].strip('"') for line in lines if line.startswith("module ")), "")
    below = path.rpartition("/")[0].removeprefix(folder).strip("/")
    return f"{module}/{below}" if below else module


async def _run(bench: _Bench, sandbox: Sandbox, planted: Planted, changes: Changes) -> TestRun:
    """Lay everything out in a fresh sandbox and run the paths of the expected tests in it."""
    farm = bench.task.config.envfarm
    written = {**changes.written, **bench.tests}
    for path, data in planted.files.items():
        old = written.get(path) or bench.pristine.get(path)
        written[path] = Entry("file", data, old.executable if old else False)
    old_tests = [path for path in bench.pristine if _below(path, farm.test_paths)] if bench.tests else []
    deleted = [path for path in (*changes.deleted, *old_tests) if path not in written]
    await lay(sandbox, bench.repository, written, deleted)
    await root(sandbox, "rm -rf /verifier")
    # Process ids would tell the two runs apart: what comes before the tests is not the same in both.
    await root(sandbox, f"i=0; while [ $i -lt {secrets.randbelow(400)} ]; do ( : ); i=$((i + 1)); done")
    new = [path for path in planted.files if path not in bench.tests and path not in bench.pristine]
    places = {_place(bench, path) for path in new}
    return await run_tests(
        sandbox,
        bench.runner,
        repository=bench.repository,
        paths=bench.runner.paths([*farm.fail_to_pass, *farm.pass_to_pass, *(f"{place}::" for place in places)]),
        timeout=bench.task.config.verifier.timeout_sec,
    )


def _below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in (place.strip("/") for place in places))


def _judge(task: Task, run: TestRun, verdict: Verdict) -> None:
    farm, outcomes = task.config.envfarm, run.outcomes
    verdict.failed = [test for test in (*farm.fail_to_pass, *farm.pass_to_pass) if outcomes.get(test) != "passed"]
    verdict.share_f2p = _share(farm.fail_to_pass, outcomes)
    verdict.share_p2p = _share(farm.pass_to_pass, outcomes)
    verdict.resolved = not verdict.failed


def _share(tests: Sequence[str], outcomes: Mapping[str, Outcome]) -> float:
    return sum(outcomes.get(test) == "passed" for test in tests) / len(tests) if tests else 1.0


def new_rng() -> random.Random:
    """Randomness that nobody could have known while the agent worked."""
    return random.Random(secrets.randbits(256))
