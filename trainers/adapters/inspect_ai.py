"""Inspect: a sandbox provider whose sandboxes are episodes of the farm, and a scorer that gives their rewards.

    Task(dataset=..., sandbox=("envfarm", "terminal/makefile-only-works-twice"), scorer=farm_reward())

Everything goes through the episode's `bash`, so it is recorded, limited and replayed as any agent's. Commands of one
sandbox run one after the other. This module is imported by Inspect only, which finds it by its entry point.
"""

from __future__ import annotations

import asyncio
import base64
import shlex
import uuid
from typing import Any, Literal, overload

from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState
from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxEnvironment,
    SandboxEnvironmentLimits,
    SandboxUserUnsupportedError,
    sandbox,
    sandboxenv,
)
from pydantic import BaseModel

from envfarm.trainers.adapters.shared import farm_token, farm_url
from envfarm.trainers.client import Episode, Farm, Reward

_PIECE = 4 << 20
"""Bytes of a file that one step carries: the farm takes bodies of 8 MiB."""

_LIMITS = {"max_turns": 1_000_000, "step_timeout_s": 3600, "timeout_s": 86400, "output_limit": 2 * _PIECE}
_RUNUSER = "/usr/sbin/runuser"  # by its whole path: the agent's PATH may lead anywhere


class FarmSandboxConfig(BaseModel):
    """Which task's sandbox, for a sample that says more than the task's id. `url` is ENVFARM_URL where not given."""

    task: str
    url: str | None = None
    run: str | None = None
    limits: dict[str, Any] = {}


@sandboxenv(name="envfarm")
class FarmSandboxEnvironment(SandboxEnvironment):
    """A sandbox of the farm. Its faults are raised as ClientError, which fails the sample and is no tool's answer."""

    def __init__(self, farm: Farm, episode: Episode) -> None:
        super().__init__()
        self.farm = farm
        self.episode = episode
        self._user: str | None = None  # whom the episode's commands run as, once it is known

    # Its life

    @classmethod
    async def sample_init(
        cls, task_name: str, config: BaseModel | str | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """Create the sample's episode, and wait for its sandbox. Raises ClientError, EpisodeFailed."""
        asked = FarmSandboxConfig(task=config) if isinstance(config, str) else config
        if not isinstance(asked, FarmSandboxConfig):
            raise ValueError('sandbox: name a task of the farm, as in sandbox=("envfarm", "terminal/some-task")')
        farm = Farm(asked.url or farm_url(), token=farm_token(), run=asked.run)
        await farm.__aenter__()
        try:
            [episode] = await farm.create(asked.task, limits=_LIMITS | asked.limits)
            await episode.ready()
        except BaseException:
            await farm.__aexit__(None, None, None)
            raise
        return {"default": cls(farm, episode)}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: BaseModel | str | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        """Let go of the episode, which is cancelled unless it was scored."""
        for environment in environments.values():
            await environment.as_type(FarmSandboxEnvironment).farm.__aexit__(None, None, None)

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        """The configuration, from a log."""
        return FarmSandboxConfig(**config)

    def default_polling_interval(self) -> float:
        """Seconds between questions to a command in the background."""
        return 0.5

    # What it does

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a command. Raises TimeoutError, PermissionError, OutputLimitExceededError, ClientError."""
        start = await self._as_user(user) + shlex.join(cmd)
        here = f"/tmp/.envfarm-{uuid.uuid4().hex}"
        await self._bash(f"mkdir -m 700 {here}")
        try:
            if input is not None:
                await self._put(f"{here}/in", input.encode() if isinstance(input, str) else input)
            stdin = "/dev/null" if input is None else f"{here}/in"
            settings = "".join(f"export {shlex.quote(f'{name}={value}')}; " for name, value in (env or {}).items())
            go = f"cd {shlex.quote(cwd)} && " if cwd else ""
            script = f"({settings}{go}exec {start}) <{stdin} >{here}/out 2>{here}/err"
            count = f"cd {here}; cat out err >all; echo $code $(wc -c <out) $(wc -c <err)"
            told = await self._bash(f"{script}; code=$?; ({count})", timeout)
            code, out, err = map(int, told.split()[:3])  # the shell may add that a signal ended the command
            limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
            if max(out, err) > limit:
                cut = (await self._get(f"{here}/all", 0, min(limit, _PIECE))).decode(errors="replace")
                raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, cut)
            data = await self._get(f"{here}/all", 0, out + err)
        finally:
            await self._bash(f"rm -rf {here}")
        stdout, stderr = data[:out].decode(errors="replace"), data[out:].decode(errors="replace")
        if code == 126 and "ermission denied" in stderr:
            raise PermissionError(f"{cmd[0]}: {stderr}")
        return ExecResult(success=code == 0, returncode=code, stdout=stdout, stderr=stderr)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file, and make its folders. Raises IsADirectoryError, PermissionError, ClientError."""
        name, part = shlex.quote(file), f"/tmp/.envfarm-{uuid.uuid4().hex}"
        why = await self._bash(
            f"if [ -d {name} ]; then echo directory; elif [ -e {name} ] && [ ! -w {name} ]; then echo denied; "
            f'else mkdir -p -- "$(dirname -- {name})" && echo ok || echo denied; fi 2>/dev/null'
        )
        _raise_for(why.strip(), file)
        try:
            await self._put(part, contents.encode() if isinstance(contents, str) else contents)
            _raise_for((await self._bash(f"(cat {part} >{name}) 2>/dev/null && echo ok || echo denied")).strip(), file)
        finally:
            await self._bash(f"rm -f {part}")

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """A file's content. Raises FileNotFoundError, IsADirectoryError, PermissionError, OutputLimitExceededError."""
        name = shlex.quote(file)
        told = await self._bash(
            f"if [ -d {name} ]; then echo directory; elif [ ! -e {name} ]; then echo missing; "
            f"elif [ ! -r {name} ]; then echo denied; else echo ok $(wc -c <{name}); fi"
        )
        why, _, size = told.strip().partition(" ")
        _raise_for(why, file)
        if int(size) > SandboxEnvironmentLimits.MAX_READ_FILE_SIZE:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None)
        data = await self._get(name, 0, int(size))
        return data.decode() if text else data

    async def reward(self) -> Reward:
        """End the episode and score it as the farm does; the client's Reward. Raises ClientError."""
        return await self.episode.reward()

    # How

    async def _bash(self, command: str, timeout: float | None = None) -> str:
        """What a command prints. It goes on when the caller is cancelled: the next one waits for it."""
        call = {"name": "bash", "arguments": {"command": command}}
        result = (await asyncio.shield(asyncio.create_task(self.episode.step(call, timeout=timeout)))).results[0]
        if result.timed_out:
            raise TimeoutError(f"the command was ended after {result.seconds:.0f} seconds")
        return result.content

    async def _put(self, path: str, data: bytes) -> None:
        for start in range(0, max(len(data), 1), _PIECE):
            text = base64.encodebytes(data[start : start + _PIECE]).decode()
            await self._bash(f"(umask 077; base64 -d >>{path}) <<'END'\n{text}END")

    async def _get(self, quoted: str, start: int, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = f"tail -c +{start + len(data) + 1} {quoted} | head -c {min(_PIECE, size - len(data))} | base64"
            got = base64.b64decode(await self._bash(piece))
            if not got:
                raise FileNotFoundError(f"{quoted} became shorter while it was read")
            data += got
        return data

    async def _as_user(self, user: str | None) -> str:
        """What stands before a command of another user."""
        if user is None:
            return ""
        self._user = self._user or (await self._bash("id -un; id -u")).strip()
        if user in self._user.split():
            return ""
        if "root" not in self._user.split():
            raise SandboxUserUnsupportedError(f"the episode's agent is {self._user.split()[0]}, not root: no {user!r}")
        return f"{_RUNUSER} -u {shlex.quote(user)} -- "


def _raise_for(why: str, file: str) -> None:
    match why:
        case "ok":
            pass
        case "directory":
            raise IsADirectoryError(f"{file} is a directory")
        case "missing":
            raise FileNotFoundError(f"{file} does not exist")
        case "denied":
            raise PermissionError(f"{file}: permission denied")
        case _:
            raise RuntimeError(f"{file}: the sandbox answered {why[:200]!r}")


@scorer(metrics=[mean()])
def farm_reward() -> Scorer:
    """The farm's reward of the sample's sandbox; unscored, which metrics leave out, where it has none."""

    async def score(state: TaskState, target: Target) -> Score:
        reward = await sandbox().as_type(FarmSandboxEnvironment).reward()
        if not reward.scored:
            return Score.unscored(explanation=f"{reward.status}: {reward.reason}")
        return Score(value=reward.value, metadata={"episode": reward.episode, "parts": reward.parts})

    return score
