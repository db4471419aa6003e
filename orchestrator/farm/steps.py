"""Steps: each one runs once, however often it is sent and whenever the server dies."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence
from contextlib import suppress

from envfarm.orchestrator.errors import Moving
from envfarm.orchestrator.farm.admission import Admission
from envfarm.orchestrator.farm.blame import FELL_SILENT
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.episodes import Episode, Step, happened
from envfarm.orchestrator.farm.jobs import Scoring
from envfarm.orchestrator.schemas.episodes import Call, CallResult, StepInfo, StepRequest, StepView
from envfarm.orchestrator.store import records
from envfarm.orchestrator.store.changes import Change
from envfarm.orchestrator.store.codec import dump
from envfarm.toolbox.errors import Conflict, FarmError, Gone, NotFound, SandboxError, SandboxLost, SandboxSilent
from envfarm.toolbox.tools.base import ToolContext, ToolResult
from envfarm.toolbox.tools.call import call_tool

log = logging.getLogger(__name__)


class ShuttingDown(FarmError):
    """The server is going down; what was asked goes on after its restart."""

    status = 503


class Steps:
    """Runs the steps of live episodes."""

    def __init__(self, core: Core, scoring: Scoring, admission: Admission) -> None:
        self.core = core
        self.scoring = scoring
        self.admission = admission

    async def step(self, episode: Episode, request: StepRequest) -> StepView | None:
        """Run a step, or answer it from what is known of it; None when it still runs after `request.wait` seconds.

        Raises Conflict (another body, a wrong turn, another step in flight), Gone, SandboxError, StoreError.
        """
        digest = _digest(request.calls)
        current = episode.current
        if current is not None and current.step_id == request.step_id:
            _same(current.digest, digest, request.step_id)
            if current.done is None or current.done.done():  # it failed before its end: take it up again
                current.resumed = True
                self._launch(episode, current)
            return await self._wait(episode, current, request.wait)
        if episode.step_ids is not None and request.step_id in episode.step_ids:
            return await self._again(episode, request.step_id, digest)
        step = self._accept(episode, request, digest)
        self._launch(episode, step)
        return await self._wait(episode, step, request.wait)

    async def result(self, episode: Episode, step_id: str, wait: float) -> StepView | None:
        """The result of a step that was sent; None when it still runs after `wait` seconds. Raises NotFound."""
        current = episode.current
        if current is not None and current.step_id == step_id:
            if current.done is None:
                return None
            return await self._wait(episode, current, wait)
        return await self._again(episode, step_id, None)

    def resume(self, episode: Episode, step: Step) -> None:
        """Go on with a step that an earlier process began."""
        step.resumed = True
        episode.current = step
        self._launch(episode, step)

    async def end(self, seconds: float) -> None:
        """Wait for the steps that run, for at most `seconds`; those that wait for a sandbox go on another time."""
        steps = [one.current.done for one in self.core.live.values() if one.state == "running" and one.current]
        if running := [step for step in steps if step is not None and not step.done()]:
            await asyncio.wait(running, timeout=seconds)

    async def stored(self, episode_id: str, step_id: str, request: StepRequest | None = None) -> StepView | None:
        """A step's result from the store, None when it has none. Raises NotFound, Conflict (other calls)."""
        return await self._stored(episode_id, step_id, None if request is None else _digest(request.calls))

    async def _stored(self, episode_id: str, step_id: str, digest: str | None) -> StepView | None:
        rows = await self.core.store.rows(records.ONE_STEP, {"the_episode": episode_id, "the_step": step_id})
        if not rows:
            raise NotFound(f"no step {step_id!r} in episode {episode_id}")
        row = rows[0]
        if digest is not None:
            _same(row.digest, digest, step_id)
        return None if row.finished_at is None else records.view_of_row(row)

    def _accept(self, episode: Episode, request: StepRequest, digest: str) -> Step:
        if episode.state not in ("queued", "starting", "running"):
            raise _gone(episode)
        if episode.current is not None:
            raise _busy(episode, episode.current)
        if episode.suspended_at is not None:
            raise Conflict(f"episode {episode.id} is suspended; resume it before you send a step")
        if self.core.draining:
            raise Moving("the server is about to stop and begins no step; send it again")
        if request.turn is not None and request.turn != episode.turn:
            raise Conflict(f"turn {request.turn} was sent, but episode {episode.id} is at turn {episode.turn}")
        step = Step(request.step_id, episode.turn, digest, request.calls, timeout_s=request.timeout_s)
        step.policy_version = request.policy_version or episode.policy_version
        episode.current = step
        return step

    def _launch(self, episode: Episode, step: Step) -> None:
        step.done = self.core.spawn(self._run(episode, step))
        step.done.add_done_callback(lambda _: episode.notify())  # of a step that failed, too: `finish` waits for it

    async def _wait(self, episode: Episode, step: Step, wait: float | None) -> StepView | None:
        assert step.done is not None
        if not step.done.done():
            # a step that is cancelled must not cancel who waits for it
            await asyncio.wait([step.done], timeout=wait)
            if not step.done.done():
                return None
        if step.done.cancelled():
            if self.core.closing or episode.taken:
                raise _closing()
            raise _gone(episode)
        return step.done.result()

    async def _again(self, episode: Episode, step_id: str, digest: str | None) -> StepView | None:
        last = episode.last
        if last is not None and last.step_id == step_id:
            if digest is not None:
                _same(last.digest, digest, step_id)
            return last.view
        return await self._stored(episode.id, step_id, digest)

    async def _run(self, episode: Episode, step: Step) -> StepView:
        if not step.recovered and (step.saved is None or (step.saved.done() and step.saved.exception() is not None)):
            step.begun = records.started(episode, step)
            step.saved = self.core.store.submit(step.begun, soon=True)
        await self._until_runs(episode, step)
        try:
            await self._calls(episode, step)
        except SandboxLost as error:
            if self.core.closing or episode.taken:
                raise _closing() from None
            await self.core.fail(episode, f"the sandbox was lost ({error.cause}): {error}", lost=error.cause)
            raise
        try:
            return await self._save(episode, step)
        except Conflict:
            if episode.ended:  # while its last call ran
                raise _gone(episode) from None
            raise

    async def _until_runs(self, episode: Episode, step: Step) -> None:
        """Wait for the episode's sandbox; one that died before anything ran in it is replaced. Raises Gone."""
        for left in reversed(range(self.core.settings.start_attempts)):
            if episode.state in ("queued", "starting") or episode.forking:
                await episode.wait(lambda one: one.state not in ("queued", "starting") and not one.forking, None)
            if episode.state != "running":
                raise _gone(episode)
            if episode.sandbox is None or not episode.untouched or step.resumed or not left:
                return
            if (lost := await episode.sandbox.lost()) is None:
                return
            with suppress(Conflict):  # it ended meanwhile, and then the state says so
                await self.admission.again(episode, lost)

    async def _calls(self, episode: Episode, step: Step) -> None:
        """Run the calls that have no result yet, until one ends the episode or reaches a limit."""
        for index in range(len(step.results), len(step.calls)):
            if step.terminated or step.truncated:
                break
            if index:  # only the sandbox's last command can be asked for again: this one must be safe before the next
                await self.core.store.write(records.so_far(episode, step))
                if step.saved is not None:
                    await step.saved  # came before: done, or refused and then there is no row that could be updated
            left = _time_left(episode)
            if left <= 0:
                _cut(step, "time")
                break
            call = step.calls[index]
            result = await self._answered(episode, step, index, call, left)
            if result is None:  # perhaps the agent's doing, and then no way round a score
                _cut(step, FELL_SILENT)
                break
            step.resumed = False
            step.results.append(records.result_of(call, result))
            step.state = step.state if result.state is None else result.state
            self._judge(episode, step, result)
        limits = episode.limits
        if not step.terminated and not step.truncated and limits.max_turns and step.turn + 1 >= limits.max_turns:
            _cut(step, "turns")

    async def _answered(self, episode: Episode, step: Step, index: int, call: Call, left: float) -> ToolResult | None:
        """A call's result, over a new stream where the first falls silent; None when the sandbox stays so."""
        try:
            return await self._call(episode, step, index, call, left)
        except SandboxSilent as error:
            log.warning("%s: %s", episode.id, error)
        if not await self.scoring.blame.attach(episode):
            return None
        step.resumed = True
        try:
            return await self._call(episode, step, index, call, left)
        except SandboxSilent as error:
            log.warning("%s: %s", episode.id, error)
            return None

    async def _call(self, episode: Episode, step: Step, index: int, call: Call, left: float) -> ToolResult:
        core, limits, task = self.core, episode.limits, episode.play.task
        await core.servers.hold()
        if (quota := core.runs.get(episode.run)) is not None and quota.qps:
            waited = await core.toolbox.throttle(episode.run, call.name)
            if waited:
                event = happened(episode, "quota.throttled", tool=call.name[:80], seconds=round(waited, 3))
                core.store.submit(Change(events=[event]))
        sandbox = episode.sandbox
        if sandbox is None and not episode.bare:
            raise SandboxError(f"episode {episode.id} has no sandbox")
        most = limits.step_timeout_s or core.settings.step_timeout
        user = task.config.agent.user
        context = ToolContext(
            leased=sandbox,
            artifacts=core.artifacts,
            command_id=f"{episode.id}:{step.key}:{index}",
            timeout=min(step.timeout_s or most, most, left),
            output_limit=limits.output_limit or core.settings.output_limit,
            user=None if user is None else str(user),
            cwd=task.config.environment.workdir,
            resumed=step.resumed,
            room=core.settings.kept_outputs - episode.kept,
            retrievers=core.services.retrievers,
            state=episode.tool_state if step.state is None else step.state,
        )
        return await call_tool(episode.play.tools, call.name, call.arguments, context)

    def _judge(self, episode: Episode, step: Step, result: ToolResult) -> None:
        """Count what a call used, and end the episode where it finished or a limit is reached."""
        limits = episode.limits
        episode.output += len(result.content)
        episode.errors += result.is_error
        episode.kept += self.core.artifacts.size(result.artifacts.values())
        if result.finished:
            step.terminated = True
            step.reason = "finish"
            episode.answer = result.answer
        elif limits.max_errors is not None and episode.errors >= limits.max_errors:
            _cut(step, "errors")
        elif limits.max_output is not None and episode.output >= limits.max_output:
            _cut(step, "output")
        elif result.timed_out and _time_left(episode) <= 0:
            _cut(step, "time")

    async def _save(self, episode: Episode, step: Step) -> StepView:
        """Make a step's result durable, together with the end of the episode where it is one."""
        view = StepView(
            step_id=step.step_id,
            turn=step.turn,
            results=[CallResult(**result) for result in step.results],
            terminated=step.terminated,
            truncated=step.truncated,
            info=StepInfo(reason=step.reason),
        )
        if step.terminated or step.truncated:
            change = records.finished(episode, step)
            await self.scoring.begin(
                episode, terminated=step.terminated, truncated=step.truncated, reason=step.reason, also=change
            )
        elif step.begun is not None and step.saved is not None and not step.begun.taken:
            records.complete(step.begun, episode, step)  # it was quick: one row instead of a row and its update
            self.core.store.hurry()
            await step.saved
        else:
            await self.core.store.submit(records.finished(episode, step))
            if step.saved is not None:
                await step.saved  # as above
        step.view = view
        episode.tool_state = episode.tool_state if step.state is None else step.state
        episode.turn = step.turn + 1
        episode.last, episode.current = step, None
        if episode.step_ids is None:
            episode.step_ids = set()
        episode.step_ids.add(step.step_id)
        episode.renew()
        if episode.waiters:
            episode.notify()
        return view


def _digest(calls: Sequence[Call]) -> str:
    text = dump([(call.id, call.name, call.arguments) for call in calls])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _same(known: str, sent: str, step_id: str) -> None:
    if known != sent:
        raise Conflict(f"step {step_id!r} was sent before with other calls; give a new step another step_id")


def _closing() -> ShuttingDown:
    return ShuttingDown("the server is shutting down, or another one took over; send the step again")


def _busy(episode: Episode, step: Step) -> Conflict:
    failed = step.done is not None and step.done.done()
    advice = "failed on the farm's side; send it again" if failed else "has not ended; wait for it"
    return Conflict(
        f"step {step.step_id!r} (turn {step.turn}) of episode {episode.id} {advice} before you send another"
    )


def _gone(episode: Episode) -> Gone:
    why = f" ({episode.reason})" if episode.reason else ""
    return Gone(f"episode {episode.id} is {episode.state}{why} and takes no more steps")


def _cut(step: Step, reason: str) -> None:
    step.truncated = True
    step.reason = reason


def _time_left(episode: Episode) -> float:
    if episode.limits.timeout_s is None or episode.started_at is None:
        return float("inf")
    return episode.started_at + episode.limits.timeout_s + episode.rested() - time.time()
