"""mini-swe-agent: an environment class whose commands run in an episode of the farm, for its own agent loop."""

from __future__ import annotations

import shlex
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from envfarm.trainers.adapters.shared import URL, farm_token
from envfarm.trainers.client import Gone, Result, Reward, SyncEpisode, SyncFarm

SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""What a command prints first to submit; the rest is the submission."""


class FarmEnvironmentConfig(BaseModel):
    """Fields of mini-swe-agent's `environment:`. `timeout` is in seconds; without it the farm's own limit holds."""

    model_config = ConfigDict(extra="forbid")

    task: str = Field("", description="which task to play; not needed where an episode is given")
    url: str = URL
    run: str | None = None
    cwd: str = ""
    env: dict[str, str] = Field({})
    timeout: float | None = None
    interpreter: list[str] = Field(["bash", "-c"])


class FarmEnvironment:
    """An episode as `minisweagent.Environment`: of `task`, or one that the caller made (and closes) himself.

    The token is read from ENVFARM_TOKEN, for what is in the configuration is written into trajectories. A fault of the
    farm is raised, as ClientError or EpisodeFailed, and ends the agent's loop. Close it, or use `with`.
    """

    def __init__(self, *, episode: SyncEpisode | None = None, **config: Any) -> None:
        self.config = FarmEnvironmentConfig(**config)
        self._farm: SyncFarm | None = None
        if episode is None:
            if not self.config.task:
                raise ValueError("task: name a task of the farm, or give an episode")
            self._farm = SyncFarm(self.config.url, token=farm_token(), run=self.config.run)
            self._farm.__enter__()
            try:
                [episode] = self._farm.create(self.config.task)
            except BaseException:
                self.cleanup()
                raise
        self.episode = episode

    def __enter__(self) -> FarmEnvironment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cleanup()

    @property
    def task(self) -> str:
        """What the agent is asked: give it to `DefaultAgent.run`."""
        return self.episode.messages[-1].content

    def execute(self, action: dict[str, Any], cwd: str = "", *, timeout: float | None = None) -> dict[str, Any]:
        """Run a command in a shell of its own. Raises Submitted, LimitsExceeded, ClientError, EpisodeFailed."""
        from minisweagent.exceptions import LimitsExceeded

        call = {"name": "bash", "arguments": {"command": self._script(action.get("command", ""), cwd)}}
        try:
            step = self.episode.step(call, timeout=timeout or self.config.timeout)
        except Gone:
            self.episode.ready()  # raises where it failed or expired: only a limit of the episode ends the agent's play
            raise LimitsExceeded(_exit("LimitsExceeded", "")) from None
        output = _output(step.results[0])
        self._submit(output, ended=step.done)
        if step.done:
            raise LimitsExceeded(_exit("LimitsExceeded", ""))
        return output

    def reward(self) -> Reward:
        """What the play earned, once it is known; ends the episode. Null where the farm could not tell."""
        return self.episode.reward()

    def cleanup(self) -> None:
        """Let go of the episode: cancelled unless it was submitted or its reward was asked for. Harmless twice."""
        farm, self._farm = self._farm, None
        if farm is not None:
            farm.__exit__(None, None, None)

    def get_template_vars(self, **kwargs: Any) -> dict[str, Any]:
        """The configuration and the kind of system, for templates; nothing of this machine."""
        system = {"system": "Linux", "node": "", "release": "", "version": "", "machine": ""}
        return self.config.model_dump() | system | kwargs

    def serialize(self) -> dict[str, Any]:
        """What a trajectory says of it."""
        config = self.config.model_dump(mode="json")
        name = f"{type(self).__module__}.{type(self).__name__}"
        about = {"id": self.episode.id, "task": self.episode.task}
        return {"info": {"config": {"environment": config, "environment_type": name}, "episode": about}}

    def _script(self, command: str, cwd: str) -> str:
        """One shell for each command, as the agent is told, with stderr where it was printed."""
        variables = [f"{name}={value}" for name, value in self.config.env.items()]
        start = shlex.join(["env", *variables, *self.config.interpreter, command])
        go = f"cd {shlex.quote(cwd or self.config.cwd)} && " if cwd or self.config.cwd else ""
        return f"({go}exec {start}) 2>&1"

    def _submit(self, output: dict[str, Any], *, ended: bool) -> None:
        from minisweagent.exceptions import Submitted

        first, _, submission = output["output"].lstrip().partition("\n")
        if first.strip() == SUBMIT and output["returncode"] == 0:
            if not ended:  # else a limit did, with this very command
                self.episode.finish(answer=submission or None)
            raise Submitted(_exit("Submitted", submission))


def _exit(status: str, submission: str) -> dict[str, Any]:
    content = submission if status == "Submitted" else status
    return {"role": "exit", "content": content, "extra": {"exit_status": status, "submission": submission}}


def _output(result: Result) -> dict[str, Any]:
    """A result as the agent's templates know it: the exit code beside the output, not in it."""
    text, problem = result.content, ""
    if result.timed_out:
        text, _, last = text.rpartition("[timed out after ")
        problem = "timed out after " + last.removesuffix("]")
    elif result.exit_code:
        text = text.removesuffix(f"[exit code {result.exit_code}]")
    elif text == "[no output]":
        text = ""
    code = -1 if result.timed_out or result.exit_code is None else result.exit_code
    return {"output": text, "returncode": code, "exception_info": problem}
