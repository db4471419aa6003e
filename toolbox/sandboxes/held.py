"""A sandbox over a held shell, whatever carries its stream."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from envfarm.toolbox.errors import SandboxError, SandboxLost
from envfarm.toolbox.sandboxes import files, scripts
from envfarm.toolbox.sandboxes.base import OUTPUT_LIMIT, ExecResult, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.shell import Session, Shell

START = 60.0
"""Seconds in which the main process must say that it is ready."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a command gets that names nothing else."""

    user: str | None  # None is the user of the main process
    workdir: str


class HeldSandbox:
    """The `Sandbox` of every back end with a held shell; a back end adds how it starts, ends and is found."""

    def __init__(self, sandbox_id: str, spec: SandboxSpec, shell: Shell, defaults: Defaults) -> None:
        self._id = sandbox_id
        self._spec = spec
        self.shell = shell
        self.defaults = defaults
        self._lock = asyncio.Lock()
        self._sessions: dict[str, Session] = {}
        self._tool: str | None = None
        self._last: tuple[str, ExecResult] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def id(self) -> str:
        """The name under which the back end finds it again."""
        return self._id

    @property
    def spec(self) -> SandboxSpec:
        """What it was started from."""
        return self._spec

    async def run(
        self,
        command: str,
        *,
        timeout: float = 60.0,
        user: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        session: str | None = None,
        command_id: str | None = None,
        output_limit: int = OUTPUT_LIMIT,
        spool: bool = False,
    ) -> ExecResult:
        """Run a command and wait for its own end; see `Sandbox.run`."""
        scripts.encode(command)
        async with self._lock:
            if command_id is not None and self._last is not None and self._last[0] == command_id:
                return self._last[1]
            path = None if stdin is None else await files.spool(self.shell, stdin)
            runs = self._user(user)
            tool = await self.tool() if runs is not None else ""
            if session is None:
                text = scripts.one_shot(
                    command,
                    kind=self.shell.kind,
                    prefix=scripts.become(runs, tool),
                    cwd=self._cwd(cwd),
                    env=env or {},
                    stdin=path,
                )
                result = await self.shell.script(
                    text, timeout=timeout, limit=output_limit, spool=spool, command_id=command_id
                )
            else:
                held = self._session(session, runs, self._cwd(cwd), env or {})
                text = command if path is None else f"eval {scripts.quote(command)} <{scripts.quote(path)}"
                tool = await self.tool() if held.user is not None else ""
                result = await self.shell.command(
                    held,
                    text,
                    timeout=timeout,
                    limit=output_limit,
                    spool=spool,
                    command_id=command_id,
                    tool=tool,
                )
                if path is not None:
                    await self.shell.script(f"rm -f {scripts.quote(path)}", timeout=60.0)
            if command_id is not None:
                self._last = (command_id, result)
            return result

    async def read(self, path: str) -> bytes:
        """A file's bytes. Raises FileProblem, SandboxLost."""
        async with self._lock:
            return await files.read(self.shell, scripts.absolute(path, self.defaults.workdir))

    async def write(self, path: str, data: bytes, *, mode: int | None = None, user: str | None = None) -> None:
        """Write a file in place, making missing parents. Raises FileProblem."""
        async with self._lock:
            runs = None if user is None else self._user(user)
            prefix = "" if runs is None else scripts.become(runs, await self.tool())
            await files.write(self.shell, scripts.absolute(path, self.defaults.workdir), data, mode=mode, prefix=prefix)

    async def put_tree(self, tar: bytes, path: str) -> None:
        """Unpack a tar into a directory, making missing parents. Raises FileProblem."""
        async with self._lock:
            await files.put_tree(self.shell, tar, scripts.absolute(path, self.defaults.workdir))

    async def get_tree(self, path: str) -> bytes:
        """A tar of a directory's contents. Raises FileProblem."""
        async with self._lock:
            return await files.get_tree(self.shell, scripts.absolute(path, self.defaults.workdir))

    async def processes(self) -> list[int]:
        """Process ids alive in the sandbox that are not the farm's own."""
        async with self._lock:
            _, found = await self.shell.ask("list")
            return [int(pid) for pid in found.split()]

    async def kill_all(self) -> None:
        """Kill every process but the held shell."""
        async with self._lock:
            await self.shell.ask("clear")
            self._sessions.clear()

    async def fork(self) -> Sandbox:
        """A copy. Raises SandboxError: this back end cannot."""
        raise SandboxError("this back end cannot fork a sandbox")

    async def tool(self) -> str:
        """The tool with which this image runs a command as another user."""
        if self._tool is None:
            result = await self.shell.script(scripts.WHICH_TOOL, timeout=60.0)
            self._tool = result.stdout.decode().strip()
        return self._tool

    async def greet(self, timeout: float = START) -> None:
        """Wait until the main process is ready. Raises SandboxLost."""
        kind, rest = await self.shell.answered(self.shell.hello, self.shell.greeting, timeout)
        assert kind == b"ready", kind
        self.shell.kind = "bash" if rest.startswith(b"bash") else "sh"

    def lose(self, error: SandboxLost) -> None:
        """The stream is gone."""
        self.shell.fail(error)

    def _user(self, user: str | None) -> str | None:
        """The user to become, or None to stay the main process's own."""
        user = self.defaults.user if user is None else user
        return None if user in (None, "", "root", "0", "0:0", "root:root") else user

    def _cwd(self, cwd: str | None) -> str:
        return self.defaults.workdir if cwd is None else scripts.absolute(cwd, self.defaults.workdir)

    def _session(self, name: str, user: str | None, cwd: str, env: Mapping[str, str]) -> Session:
        session = self._sessions.get(name)
        if session is None:
            session = self._sessions[name] = Session(len(self._sessions), user, cwd, dict(env))
        return session
