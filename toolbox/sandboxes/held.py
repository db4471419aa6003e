"""A sandbox over a held shell, whatever carries its stream."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from envfarm.toolbox.errors import BackendUnavailable, ForkUnsupported, SandboxLost, SandboxSilent
from envfarm.toolbox.sandboxes import files, scripts
from envfarm.toolbox.sandboxes.base import OUTPUT_LIMIT, ExecResult, Output, Sandbox, SandboxSpec, as_left
from envfarm.toolbox.sandboxes.replay import History
from envfarm.toolbox.sandboxes.session import Session
from envfarm.toolbox.sandboxes.shell import Shell
from envfarm.toolbox.sandboxes.stream import Capture
from envfarm.toolbox.sandboxes.supervisor import Wire

REJOIN = 300.0
"""Seconds for which a back end that is away is asked for a new stream in the place of one that broke."""
PAUSE_FIRST, PAUSE_LAST = 0.1, 10.0
"""Seconds between two such attempts, at first and at most."""
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
        self._slots = 0
        self._tool: str | None = None
        self._last: tuple[str, ExecResult] | None = None
        self._ready = False  # the main process has answered
        self._detached = False
        self._rejoining: asyncio.Task[None] | None = None
        self.patience = REJOIN

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
            if command_id is not None and (known := await self._known(command_id, timeout, output_limit)) is not None:
                return known
            await self.shell.settle()
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
                if path is not None:
                    self.shell.litter.append(path)
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
            if command_id is not None:
                self._last = (command_id, result)
            return result

    async def recover(self, command_id: str, *, timeout: float, output_limit: int = OUTPUT_LIMIT) -> ExecResult | None:
        """The result of a command that an earlier farm process sent; None if it never arrived. Raises SandboxLost."""
        async with self._lock:
            return await self._known(command_id, timeout, output_limit)

    async def _known(self, command_id: str, timeout: float, limit: int) -> ExecResult | None:
        if self._last is not None and self._last[0] == command_id:
            return as_left(self._last[1])
        result = await self.shell.recover(command_id, timeout=timeout)
        if result is not None:
            result = shorten(result, limit)
            self._last = (command_id, result)
        return result

    async def resume(self, history: History) -> None:
        """Take over a main process that an earlier farm started. Raises SandboxLost."""
        sessions = await self.shell.resume(history)
        self._ready = True
        for session in sessions:
            self._sessions[session.name] = session
            self._slots = max(self._slots, session.slot + 1)
        for session in self._sessions.values():
            kind, _ = await self.shell.ask("look", session.slot, session.pid)
            session.live = session.live and kind == b"a"

    async def read(self, path: str, *, limit: int | None = None) -> bytes:
        """A file's bytes. Raises FileProblem, SandboxLost."""
        async with self._lock:
            await self.shell.settle()
            return await files.read(self.shell, scripts.absolute(path, self.defaults.workdir), limit)

    async def write(self, path: str, data: bytes, *, mode: int | None = None, user: str | None = None) -> None:
        """Write a file in place, making missing parents. Raises FileProblem."""
        async with self._lock:
            await self.shell.settle()
            runs = None if user is None else self._user(user)
            prefix = "" if runs is None else scripts.become(runs, await self.tool())
            await files.write(self.shell, scripts.absolute(path, self.defaults.workdir), data, mode=mode, prefix=prefix)

    async def put_tree(self, tar: bytes, path: str) -> None:
        """Unpack a tar into a directory, making missing parents. Raises FileProblem."""
        async with self._lock:
            await self.shell.settle()
            await files.put_tree(self.shell, tar, scripts.absolute(path, self.defaults.workdir))

    async def get_tree(self, path: str, *, exclude: Sequence[str] = (), limit: int | None = None) -> bytes:
        """A tar of a directory's contents. Raises FileProblem."""
        async with self._lock:
            await self.shell.settle()
            return await files.get_tree(
                self.shell, scripts.absolute(path, self.defaults.workdir), exclude=exclude, limit=limit
            )

    async def lost(self) -> SandboxLost | None:
        """Why it is dead, as far as its stream has told; see `Sandbox.lost`."""
        if self._rejoining is not None and not self._rejoining.done():
            await asyncio.wait([self._rejoining])
        return self.shell.lost if self.shell.is_lost else None

    async def processes(self) -> list[int]:
        """Process ids alive in the sandbox that are not the farm's own."""
        async with self._lock:
            await self.shell.settle()
            _, found = await self.shell.ask("list")
            return [int(pid) for pid in found.split()]

    async def kill_all(self) -> None:
        """Kill every process but the held shell."""
        async with self._lock:
            await self.shell.settle()
            await self.shell.ask("clear")
            self._sessions.clear()

    async def fork(self, leases: Sequence[str]) -> list[Sandbox]:
        """Copies; see `Sandbox.fork`. Raises ForkUnsupported: this back end has none."""
        raise ForkUnsupported("this back end cannot fork a sandbox: use the Docker back end with isolation gvisor")

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
        self._ready = True
        self.shell.kind = "bash" if rest.startswith(b"bash") else "sh"

    async def entrypoint(self, config: Mapping[str, Any]) -> None:
        """Run the image's own entrypoint as a child, unless it is a bare shell that would end at once.

        `config` is the image's, with Docker's names. Raises SandboxLost.
        """
        words = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
        bare = len(words) == 1 and words[0].rsplit("/")[-1] in ("sh", "bash", "ash")
        if not self._spec.entrypoint or not words or bare:
            return
        user = self._user(None)
        prefix = scripts.become(user, await self.tool() if user else "")
        line = " ".join(scripts.quote(word) for word in words)
        home = scripts.quote(self.defaults.workdir)
        await self.shell.script(
            f"( restore; cd {home}; {prefix}{line} ) </dev/null >/dev/null 2>&1 9>&- &", timeout=START
        )

    def lose(self, error: SandboxLost) -> None:
        """The stream is gone."""
        self.shell.fail(error)

    # the stream

    async def attach(self) -> None:
        """Take hold of the stream. Raises BackendUnavailable, SandboxLost."""
        self.shell.wire = await self.stream()

    async def take_back(self) -> None:
        """Attach to a main process that an earlier farm started, and take it over; where that fails it is let go of.

        One that does not answer is taken back too: whoever asks it for something is told, and can end it.
        Raises BackendUnavailable, SandboxLost.
        """
        try:
            self.shell.hold()
            await self.attach()
            await self.resume(self.history)
        except SandboxSilent:
            pass
        except BaseException:
            await self.detach()
            raise

    async def detach(self) -> None:
        """Let go of the stream and leave the main process running."""
        self.let_go()

    async def cause(self) -> SandboxLost | None:
        """Why the sandbox is dead; None while it lives. Raises BackendUnavailable where nobody can tell."""
        return SandboxLost("the stream to the sandbox broke", cause="stream")

    async def stream(self) -> Wire:
        """A new stream to the main process. Raises BackendUnavailable, SandboxLost."""
        raise NotImplementedError

    async def history(self) -> dict[int, bytes]:
        """What the main process printed so far; see `History`. Raises BackendUnavailable, SandboxLost."""
        raise NotImplementedError

    def closed(self) -> None:
        """The stream broke: find out why, and take hold of a sandbox that lives once more."""
        if self._detached or self.shell.is_lost:
            return
        self.shell.drop()
        if self._rejoining is None or self._rejoining.done():
            self._rejoining = asyncio.get_running_loop().create_task(self._rejoin())

    async def _rejoin(self) -> None:
        """Attach again until it works, the sandbox is dead, or the back end has been away for too long."""
        error: SandboxLost | None = SandboxLost(
            "the stream broke, and a fault of the farm ended its repair", cause="engine"
        )
        try:
            error = await self._rejoined()
        finally:  # whatever happens: nobody may wait for a sandbox that nobody mends
            if error is not None:
                self.lose(error)
                if self.shell.wire is not None:
                    self.shell.wire.close()

    async def _rejoined(self) -> SandboxLost | None:
        """Attach again; why that is given up, None where it is not."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self.patience, PAUSE_FIRST
        while True:
            try:
                if (error := await self.cause()) is not None:
                    return error
                if not self._ready:
                    return SandboxLost("the stream broke while the sandbox started", cause="stream")
                self.shell.hold()
                await self.shell.rejoin(await self.stream(), self.history)
                return None
            except SandboxSilent as problem:  # the stream may lead nowhere yet: another one has to be tried
                if self.shell.is_lost or loop.time() > deadline:
                    return problem
            except BackendUnavailable as problem:
                if loop.time() > deadline:
                    why = f"the stream broke, and for {self.patience:g} s since: {problem}"
                    return SandboxLost(why, cause="engine")
            except SandboxLost as problem:
                return problem
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # not all sandboxes at once
            pause = min(2 * pause, PAUSE_LAST)

    def let_go(self) -> None:
        """Let go of the stream for good; the main process lives on."""
        self._detached = True
        self.lose(SandboxLost("the sandbox was let go", cause="stream"))
        if self._rejoining is not None:
            self._rejoining.cancel()
        if self.shell.wire is not None:
            self.shell.wire.close()

    def _user(self, user: str | None) -> str | None:
        """The user to become, or None to stay the main process's own."""
        user = self.defaults.user if user is None else user
        return None if user in (None, "", "root", "0", "0:0", "root:root") else user

    def _cwd(self, cwd: str | None) -> str:
        return self.defaults.workdir if cwd is None else scripts.absolute(cwd, self.defaults.workdir)

    def _session(self, name: str, user: str | None, cwd: str, env: Mapping[str, str]) -> Session:
        session = self._sessions.get(name)
        if session is None:
            session = self._sessions[name] = Session(self._slots, name, user, cwd, dict(env))
            self._slots += 1
        return session


def defaults(spec: SandboxSpec, config: Mapping[str, Any]) -> Defaults:
    """User and working directory of commands that name none: the spec's, else the image's (with Docker's names)."""
    return Defaults(spec.user or config.get("User") or None, spec.workdir or config.get("WorkingDir") or "/")


def shorten(result: ExecResult, limit: int) -> ExecResult:
    """The same result with its outputs cut to a smaller limit."""
    cut = []
    for info in (result.stdout_info, result.stderr_info):
        if info.cut_at is None and len(info.data) <= limit:
            cut.append(info)
            continue
        capture = Capture(limit)
        capture.add(info.data if info.cut_at is None else info.data[: info.cut_at])
        if info.cut_at is not None:
            capture.add(info.data[info.cut_at :])
        shorter = capture.output()
        cut_at = shorter.cut_at if info.cut_at is None or shorter.cut_at is not None else info.cut_at
        cut.append(Output(shorter.data, info.total, cut_at, info.spool))
    out, err = cut
    truncated = out.cut_at is not None or err.cut_at is not None
    return replace(result, stdout=out.data, stderr=err.data, stdout_info=out, stderr_info=err, truncated=truncated)
