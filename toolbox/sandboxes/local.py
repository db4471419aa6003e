"""Sandboxes that share this machine's files: the held shell as a child process, for development of one's own tasks.

Where the kernel allows it the shell is process 1 of a PID namespace of its own, so that neither the farm nor a command
can signal a process outside. Where it does not, only descendants of the shell are ever signalled by the farm.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path

from envfarm.toolbox.errors import SandboxLost, SandboxStartError
from envfarm.toolbox.sandboxes import scripts
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxInfo, SandboxSpec
from envfarm.toolbox.sandboxes.held import START, Defaults, HeldSandbox
from envfarm.toolbox.sandboxes.shell import Shell

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc")
_AS_USER = ("--user", "--map-root-user")
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_CHUNK = 1 << 18


class LocalWire:
    """The child's standard input."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def write(self, data: bytes) -> None:
        """Queue bytes."""
        if not self._writer.is_closing():
            self._writer.write(data)

    async def drain(self) -> None:
        """Wait until most of what is queued has gone."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def pause(self) -> None:
        """Nothing to do: a local sandbox is never taken hold of again."""

    def resume(self) -> None:
        """Nothing to do either."""

    def close(self) -> None:
        """Close the child's input, which ends it."""
        self._writer.close()


class LocalSandbox(HeldSandbox):
    """A process group on this machine with a folder of its own to work in."""

    def __init__(
        self, folder: Path, spec: SandboxSpec, shell: Shell, defaults: Defaults, process: asyncio.subprocess.Process
    ) -> None:
        super().__init__(folder.name, spec, shell, defaults)
        self.folder = folder
        self._process = process
        self._closing = False
        assert process.stdin is not None
        shell.wire = LocalWire(process.stdin)
        self._pumps = [
            asyncio.create_task(self._pump(stream, reader))
            for stream, reader in ((1, process.stdout), (2, process.stderr))
            if reader is not None
        ]

    async def _pump(self, stream: int, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            self.shell.feed(stream, data)
        code = await self._process.wait()
        self.lose(SandboxLost(f"the sandbox's main process was killed (exit code {code})", cause="killed"))

    async def detach(self) -> None:
        """End it: a local sandbox cannot outlive the farm."""
        await self.close()

    async def close(self) -> None:
        """Kill its processes and remove its folder."""
        if self._closing:
            return
        self._closing = True
        if not self.shell.is_lost:
            with contextlib.suppress(SandboxLost):
                await self.shell.ask("clear", timeout=5.0)
        self.lose(SandboxLost("the sandbox was closed", cause="killed"))
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        if self.shell.wire is not None:
            self.shell.wire.close()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)


class LocalBackend:
    """Runs sandboxes as processes of this machine: no isolation, no limits, no image."""

    name = "local"

    def __init__(self, root: Path | str | None = None, *, shell: str | None = None) -> None:
        self._root = None if root is None else Path(root)
        self._shell = shell
        self._wrapper: tuple[str, ...] | None = None

    async def wrapper(self) -> tuple[str, ...]:
        """The words that put a command into a PID namespace of its own; empty where the kernel refuses."""
        if self._wrapper is None:
            self._wrapper = ()
            for words in (_NAMESPACE, (*_NAMESPACE, *_AS_USER)):
                if await _succeeds(*words, "true"):
                    self._wrapper = words
                    break
        return self._wrapper

    @property
    def root(self) -> Path:
        """The folder that holds one folder for each sandbox."""
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix="envfarm-local-"))
        self._root.mkdir(parents=True, exist_ok=True)
        return self._root

    async def start(self, spec: SandboxSpec, *, owner: str, lease: str) -> Sandbox:
        """Start a shell in a new folder. Raises SandboxStartError."""
        if spec.isolation != "runc":
            raise SandboxStartError(f"the local back end offers no isolation, and {spec.isolation} was asked for")
        folder = Path(tempfile.mkdtemp(prefix="sandbox-", dir=self.root))
        (folder / "work").mkdir()
        (folder / "tmp").mkdir()
        secret = secrets.token_hex(16)
        shell = Shell(secret)
        env = {
            "PATH": _PATH,
            "HOME": str(folder),
            "TMPDIR": f"{folder}/tmp",
            "ENVFARM": scripts.program("supervisor.sh"),
            **dict(spec.env),
        }
        main = self._shell or shutil.which("bash") or "/bin/sh"
        wrapper = await self.wrapper()
        words = [*wrapper, *main.split(), *(["--norc", "--noprofile"] if main.endswith("bash") else [])]
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                "-c",
                'eval "$ENVFARM"',
                "envfarm",
                shell.hello,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                cwd=folder,
                env=env,
                start_new_session=True,
                preexec_fn=_child(adopts=not wrapper),
            )
        except OSError as error:
            shutil.rmtree(folder)
            raise SandboxStartError(f"no shell starts here: {error}") from None
        born = _born(process.pid)
        about = {"owner": owner, "lease": lease, "pid": process.pid, "born": born, "created": time.time()}
        (folder / "sandbox.json").write_text(json.dumps(about))
        workdir = spec.workdir or str(folder / "work")
        sandbox = LocalSandbox(folder, spec, shell, Defaults(spec.user, workdir), process)
        try:
            await sandbox.greet(START)
        except BaseException as error:
            await sandbox.close()
            if isinstance(error, SandboxLost):
                raise SandboxStartError(f"no shell starts here: {error}") from None
            raise
        return sandbox

    async def attach(self, sandbox_id: str) -> Sandbox:
        """Raises SandboxLost: a local sandbox ends with the farm that started it."""
        raise SandboxLost(f"{sandbox_id} ended with the farm that started it", cause="killed")

    async def take(self, spec: SandboxSpec, *, owner: str, lease: str) -> Sandbox | None:
        """None: this machine is not shared."""
        return None

    async def offer(self, sandbox: Sandbox) -> None:
        """Nobody else could take it."""

    async def place(self) -> str | None:
        """None: they end with the server."""
        return None

    async def claim(self, sandbox: Sandbox, *, owner: str, lease: str) -> bool:
        """It is this server's already."""
        return True

    async def find(self, owner: str) -> list[SandboxInfo]:
        """Every sandbox of that owner, running or not."""
        found = []
        for place in sorted(self.root.glob("*/sandbox.json")):
            try:
                about = json.loads(place.read_text())
            except (OSError, ValueError):
                continue
            if about["owner"] == owner:
                running = _born(about["pid"]) == about["born"]
                found.append(SandboxInfo(place.parent.name, owner, about["lease"], running, about["created"]))
        return found

    async def reap(self, owner: str, *, keep: Collection[str]) -> list[str]:
        """Kill and remove the owner's sandboxes that are not in `keep`."""
        doomed = [one.id for one in await self.find(owner) if one.id not in keep]
        for name in doomed:
            folder = self.root / name
            about = json.loads((folder / "sandbox.json").read_text())
            if about["born"] is not None and _born(about["pid"]) == about["born"]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(about["pid"], signal.SIGKILL)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return doomed

    async def close(self) -> None:
        """Nothing is held."""


async def _succeeds(*words: str) -> bool:
    null = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*words, stdin=null, stdout=null, stderr=null)
    except OSError:
        return False
    return await process.wait() == 0


def _born(pid: int) -> int | None:
    """When a process was born, in ticks since boot: with its number the only safe name, for numbers are used again."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def _child(*, adopts: bool) -> Callable[[], None]:
    """What the child does first: a farm started in the background of a script ignores SIGINT, its sandboxes must not.

    One that `adopts` becomes the parent of its orphans, as process 1 is in a container, so that none gets away.
    """
    libc = ctypes.CDLL(None)

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if adopts:
            libc.prctl(_SUBREAPER, 1, 0, 0, 0)

    return begin
