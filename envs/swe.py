"""Software engineering tasks: fix a repository, scored by tests that the agent never saw, where the agent never was."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from functools import partial

from envfarm.envs.base import Images, Message, Reward, ScoreContext, Services
from envfarm.envs.changes import BUILT, Changes, TooLarge, compare, pack, unpack
from envfarm.envs.diff import unified
from envfarm.envs.harbor import agent_spec, limits
from envfarm.envs.lessons import Lessons, solved
from envfarm.envs.pristine import PristineTrees, digest
from envfarm.envs.trees import fetch_tree
from envfarm.envs.verify import Verdict, new_rng, verify
from envfarm.tasks.runners import runner
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import SandboxLost
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec
from envfarm.toolbox.tools.base import Tool
from envfarm.toolbox.tools.bash import Bash
from envfarm.toolbox.tools.finish import Finish
from envfarm.toolbox.tools.str_replace import StrReplace

SYSTEM = "You work on a repository in a sandbox, through the tools. Call finish when the task is done."
LOG_TAIL = 64 << 10  # bytes of a run's log that are kept


class SweEnvironment:
    """The agent changes files of a repository; what counts is that change, laid over the pristine tree."""

    kind = "swe"

    def __init__(self) -> None:
        self._pristine = PristineTrees()
        self._lessons = Lessons()

    def check(self, task: Task, services: Services) -> None:
        """It needs none."""

    def tools(self, task: Task) -> list[Tool]:
        """bash, str_replace and finish."""
        return [Bash(), StrReplace(), Finish()]

    def messages(self, task: Task) -> list[Message]:
        """A sentence of system prompt, where the repository lies, and the task's statement."""
        where = f"The repository is in {task.config.envfarm.repository}."
        return [
            Message(role="system", content=SYSTEM),
            Message(role="user", content=f"{where}\n\n{task.instruction.strip()}"),
        ]

    async def spec(self, task: Task, images: Images) -> SandboxSpec:
        """The task's own image; commands start in the repository, and nothing outside can be reached."""
        spec = agent_spec(task, await images.agent(task))
        return spec.model_copy(update={"workdir": spec.workdir or task.config.envfarm.repository})

    async def start(self, task: Task, sandbox: Sandbox) -> None:
        """Nothing: the image is the start."""

    def needs_sandbox(self, task: Task) -> bool:
        """The tests never run where the agent was."""
        return False

    async def collect(self, task: Task, context: ScoreContext) -> dict[str, str]:
        """Save the difference between the agent's repository and the pristine one, as `changes`."""
        if context.sandbox is None:
            raise SandboxLost("the agent's sandbox is gone, and its changes with it", cause="removed")
        await context.sandbox.kill_all()  # or they would go on writing while we read
        pristine = await self._pristine.read(task, await _verifier(task, context.images), context.fresh)
        skip = BUILT.get(task.config.envfarm.runner or "", ())
        left_out: dict[str, str] = {}
        try:
            tree = await fetch_tree(context.sandbox, task.config.envfarm.repository, skip=skip, left_out=left_out)
            changes = compare(pristine.digests, tree, digest=digest)
        except TooLarge as error:
            changes = Changes(problem=str(error))
        except ValueError as error:
            changes = Changes(problem=f"the agent left no repository that can be read: {error}")
        changes.left_out = left_out
        return {"changes": await asyncio.to_thread(context.artifacts.put, pack(changes))}

    async def score(self, task: Task, context: ScoreContext) -> Reward:
        """1 when every expected test passes on the agent's change and nothing shows a forged report, else 0."""
        changes = unpack(await asyncio.to_thread(context.artifacts.get, context.saved["changes"]))
        if changes.problem:
            return Reward(value=0.0, parts=_parts(Verdict()), evidence=dict(context.saved), reason=changes.problem)
        spec = await _verifier(task, context.images)
        tests = runner(task.config.envfarm.runner)
        pristine = await self._pristine.read(task, spec, context.fresh)
        solve = partial(solved, task, pristine, await self.spec(task, context.images), context)
        lesson = self._lessons.of(task)
        verdict = await verify(task, tests, changes, pristine, spec, context.fresh, lesson, solve, new_rng())
        return Reward(
            value=1.0 if verdict.resolved else 0.0,
            parts=_parts(verdict),
            evidence=await asyncio.to_thread(_evidence, task, verdict, context),
            reason=_reason(verdict),
        )


async def _verifier(task: Task, images: Images) -> SandboxSpec:
    table = task.config.verifier.environment or task.config.environment
    return SandboxSpec(
        image=await images.verifier(task),
        isolation=task.config.envfarm.isolation or "runc",
        network="none",
        limits=limits(table),
        user="root",
        workdir="/",
        entrypoint=False,
    )


def _parts(verdict: Verdict) -> dict[str, float]:
    return {
        "fail_to_pass": verdict.share_f2p,
        "pass_to_pass": verdict.share_p2p,
        "resolved": float(verdict.resolved),
        "forged": float(verdict.forged is not None),
    }


def _reason(verdict: Verdict) -> str | None:
    if verdict.forged:
        return f"the test report is forged: {verdict.forged}"
    if verdict.problem:
        return verdict.problem
    if verdict.failed:
        more = f" and {len(verdict.failed) - 1} more" if len(verdict.failed) > 1 else ""
        return f"{verdict.failed[0]}{more} did not pass"
    return None


def _evidence(task: Task, verdict: Verdict, context: ScoreContext) -> dict[str, str]:
    lineups = [lineup for planted in verdict.planted for lineup in planted.lineups]
    first = {test.partition("[")[0] for test in task.config.envfarm.fail_to_pass}
    about = {
        "left_out": verdict.changes.left_out,
        "failed": verdict.failed,
        "forged": verdict.forged,
        "problem": verdict.problem,
        "exit_codes": [run.exit_code for run in verdict.runs],
        "decoys": sorted(first & {lineup.test for lineup in lineups}),
        "constant": sorted(first & {test for planted in verdict.planted for test in planted.constant}),
        "lineups": [[asdict(lineup) for lineup in planted.lineups] for planted in verdict.planted],
        "canaries_must_fail": sorted(test for planted in verdict.planted for test in planted.must_fail),
        "canaries_must_pass": sorted(test for planted in verdict.planted for test in planted.must_pass),
    }
    put = context.artifacts.put
    evidence = dict(context.saved)
    evidence["diff"] = put(unified(verdict.changes, verdict.pristine))
    evidence["verdict"] = put(json.dumps(about, indent=2).encode())
    for number, run in enumerate(verdict.runs):
        suffix = "" if number == 0 else f"_{number + 1}"
        evidence[f"report{suffix}"] = put(run.report)
        evidence[f"log{suffix}"] = put(run.log[-LOG_TAIL:])
    if verdict.forged:
        evidence["canary"] = put(f"{verdict.forged}\n".encode())
    return evidence


ENVIRONMENT = SweEnvironment
