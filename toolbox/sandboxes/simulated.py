"""A back end without machines: the orchestrator is measured on it alone, and the toolbox is tested on it.

Its sandboxes know a handful of commands (`SimulatedShell`) over files in a dictionary. Nothing is isolated.
"""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import count

from envfarm.toolbox.errors import FileProblem, SandboxError, SandboxLost, SandboxSilent
from envfarm.toolbox.sandboxes.base import OUTPUT_LIMIT, ExecResult, Sandbox, SandboxInfo, SandboxSpec, as_left
from envfarm.toolbox.sandboxes.simulated_shell import SimulatedShell


class SimulatedBackend:
    """Sandboxes that live in this process.

    `start_seconds` and `latency` are how long a start and a command take. `failures` are raised by the next starts, and
    `close_failures` by the next ends of a sandbox, one each, in order. A fork counts as a start.
    """

    name = "simulated"

    def __init__(self, *, start_seconds: float = 0.0, latency: float = 0.0) -> None:
        self.start_seconds = start_seconds
        self.latency = latency
        self.failures: list[SandboxError] = []
        self.close_failures: list[SandboxError] = []
        self.sandboxes: dict[str, SimulatedSandbox] = {}
        self.started = 0
        self.most = 0  # sandboxes alive at once, at the highest
        self._ids = count(1)

    async def start(self, spec: SandboxSpec, *, owner: str, lease: str) -> SimulatedSandbox:
        """Start a sandbox. Raises the next of `failures`, if there is one."""
        self.started += 1
        if self.start_seconds:
            await asyncio.sleep(self.start_seconds)
        if self.failures:
            raise self.failures.pop(0)
        return self._add(SimulatedSandbox(self, f"sim-{next(self._ids)}", spec, owner, lease))

    async def attach(self, sandbox_id: str) -> SimulatedSandbox:
        """Take back a sandbox of this process. Raises SandboxLost."""
        if sandbox_id not in self.sandboxes:
            raise SandboxLost(f"no sandbox {sandbox_id}", cause="removed")
        sandbox = self.sandboxes[sandbox_id]
        if sandbox.silent == "until attached":
            sandbox.silent = ""
        return sandbox

    async def take(self, spec: SandboxSpec, *, owner: str, lease: str) -> Sandbox | None:
        """None: nothing is shared."""
        return None

    async def offer(self, sandbox: Sandbox) -> None:
        """Nobody else could take it."""

    async def place(self) -> str | None:
        """This very object: several servers of one process may share it."""
        return f"simulated {os.getpid()} {id(self)}"

    async def claim(self, sandbox: Sandbox, *, owner: str, lease: str) -> bool:
        """Write another name on it."""
        mine = self.sandboxes.get(sandbox.id)
        if mine is not None:
            mine.owner, mine.lease = owner, lease
        return mine is not None

    async def find(self, owner: str) -> list[SandboxInfo]:
        """Every living sandbox of that owner."""
        return [
            SandboxInfo(id=box.id, owner=box.owner, lease=box.lease, running=True, created=box.created)
            for box in self.sandboxes.values()
            if box.owner == owner
        ]

    async def reap(self, owner: str, *, keep: Collection[str]) -> list[str]:
        """Remove the owner's sandboxes that are not to be kept."""
        gone = [box.id for box in self.sandboxes.values() if box.owner == owner and box.id not in keep]
        for sandbox_id in gone:
            del self.sandboxes[sandbox_id]
        return gone

    async def close(self) -> None:
        """Nothing to let go of."""

    def lose(self, sandbox_id: str) -> None:
        """Let a sandbox die: whatever is asked of it from now on raises SandboxLost."""
        self.sandboxes.pop(sandbox_id, None)

    def silence(self, sandbox_id: str, *, for_ever: bool = True) -> None:
        """Let whatever is asked of a sandbox raise SandboxSilent, until it is attached again or `for_ever`."""
        self.sandboxes[sandbox_id].silent = "for ever" if for_ever else "until attached"

    def _add(self, sandbox: SimulatedSandbox) -> SimulatedSandbox:
        self.sandboxes[sandbox.id] = sandbox
        self.most = max(self.most, len(self.sandboxes))
        return sandbox


class SimulatedSandbox:
    """A dictionary of files that answers a few commands."""

    __slots__ = (
        "_backend", "_last", "_lock", "_sessions", "created", "files", "id", "lease", "owner", "silent", "spec"
    )  # fmt: skip

    def __init__(self, backend: SimulatedBackend, id: str, spec: SandboxSpec, owner: str, lease: str) -> None:
        self._backend = backend
        self.id = id
        self.spec = spec
        self.owner = owner
        self.lease = lease
        self.created = time.time()
        self.silent = ""
        self.files: dict[str, bytes] = {}
        self._sessions: dict[str, str] = {}
        self._last: tuple[str, ExecResult] | None = None
        self._lock: asyncio.Lock | None = None  # made when there is a latency: without one nothing can overlap

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
        """Run one of the commands that `SimulatedShell` knows; any other ends with 127."""
        if not self._backend.latency:
            return self._run(command, timeout, cwd, stdin, session, command_id, output_limit, spool)
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            await asyncio.sleep(self._backend.latency)
            return self._run(command, timeout, cwd, stdin, session, command_id, output_limit, spool)

    def _run(
        self,
        command: str,
        timeout: float,
        cwd: str | None,
        stdin: bytes | None,
        session: str | None,
        command_id: str | None,
        output_limit: int,
        spool: bool,
    ) -> ExecResult:
        self._check()
        if command_id is not None and self._last is not None and self._last[0] == command_id:
            return as_left(self._last[1])
        here = self._sessions.get(session or "") or cwd or self.spec.workdir or "/"
        shell = SimulatedShell(self.files, here, stdin or b"", timeout)
        result = shell.result(command, output_limit, spool)
        if session is not None:
            self._sessions[session] = shell.cwd
        if command_id is not None:
            self._last = (command_id, result)
        return result

    async def recover(self, command_id: str, *, timeout: float, output_limit: int = OUTPUT_LIMIT) -> ExecResult | None:
        """The last command's result, if it had that id."""
        self._check()
        return as_left(self._last[1]) if self._last is not None and self._last[0] == command_id else None

    async def read(self, path: str, *, limit: int | None = None) -> bytes:
        """A file's bytes. Raises FileProblem, SandboxLost."""
        self._check()
        if path not in self.files:
            raise FileProblem(f"{path}: no such file", reason="missing")
        if limit is not None and len(self.files[path]) > limit:
            raise FileProblem(f"{path} is larger than {limit} bytes", reason="space")
        return self.files[path]

    async def write(self, path: str, data: bytes, *, mode: int | None = None, user: str | None = None) -> None:
        """Keep a file; modes and owners are not simulated."""
        self._check()
        self.files[path] = data

    async def put_tree(self, tar: bytes, path: str) -> None:
        """Keep the files of a tar."""
        self._check()
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            for member in archive:
                if member.isfile() and (file := archive.extractfile(member)) is not None:
                    self.files[f"{path.rstrip('/')}/{member.name.removeprefix('./')}"] = file.read()

    async def get_tree(self, path: str, *, exclude: Sequence[str] = (), limit: int | None = None) -> bytes:
        """A tar of the files below a directory. Raises FileProblem when there are none."""
        self._check()
        root = f"{path.rstrip('/')}/"
        inside = {name.removeprefix(root): data for name, data in self.files.items() if name.startswith(root)}
        inside = {name: data for name, data in inside.items() if not set(name.split("/")) & set(exclude)}
        if not inside:
            raise FileProblem(f"{path}: no such directory", reason="missing")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in inside.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        if limit is not None and len(buffer.getvalue()) > limit:
            raise FileProblem(f"{path} is larger than {limit} bytes", reason="space")
        return buffer.getvalue()

    async def processes(self) -> list[int]:
        """None are simulated."""
        self._check()
        return []

    async def lost(self) -> SandboxLost | None:
        """That it is gone."""
        return None if self.id in self._backend.sandboxes else self._gone()

    async def kill_all(self) -> None:
        """Sessions start anew."""
        self._check()
        self._sessions.clear()

    async def fork(self, leases: Sequence[str]) -> list[Sandbox]:
        """Sandboxes with the same files and sessions. Raises the next of the back end's `failures`, if there is one."""
        self._check()
        if self._backend.start_seconds:
            await asyncio.sleep(self._backend.start_seconds)
        if self._backend.failures:
            raise self._backend.failures.pop(0)
        twins: list[Sandbox] = []
        for lease in leases:
            id = f"{self.id}-{next(self._backend._ids)}"
            twin = SimulatedSandbox(self._backend, id, self.spec, self.owner, lease)
            twin.files = dict(self.files)
            twin._sessions = dict(self._sessions)
            twins.append(self._backend._add(twin))
        return twins

    async def detach(self) -> None:
        """It stays where it is."""

    async def close(self) -> None:
        """Forget it. Raises the next of the back end's `close_failures`, if there is one."""
        if self._backend.close_failures:
            raise self._backend.close_failures.pop(0)
        self._backend.sandboxes.pop(self.id, None)

    def _gone(self) -> SandboxLost:
        return SandboxLost(f"sandbox {self.id} is gone", cause="removed")

    def _check(self) -> None:
        if self.id not in self._backend.sandboxes:
            raise self._gone()
        if self.silent:
            raise SandboxSilent(f"sandbox {self.id} did not answer")
