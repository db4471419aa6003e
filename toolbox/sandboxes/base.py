"""The seam between the farm and whatever runs the containers: `Sandbox` and `Backend`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from envfarm.toolbox.errors import SandboxLost

Isolation = Literal["runc", "gvisor"]
Network = Literal["none", "allowlist", "public"]

WARM = "warm"
"""The lease of a sandbox that is started for a pool, before anybody asked for it."""
OUTPUT_LIMIT = 1 << 20
"""Bytes of each stream that a result keeps by default; the middle of anything longer is cut."""


class Limits(BaseModel):
    """What one sandbox may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: float = Field(1.0, gt=0)
    memory_mb: int = Field(2048, ge=16)
    pids: int = Field(1024, ge=16)
    disk_mb: int | None = Field(None, ge=1)  # enforced where the storage driver can
    gpus: int = Field(0, ge=0)


class SandboxSpec(BaseModel):
    """Everything that makes two sandboxes interchangeable: equal specs may share one warm pool."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    isolation: Isolation = "runc"
    network: Network = "none"
    allowed_hosts: tuple[str, ...] = ()
    limits: Limits = Limits()
    user: str | None = None  # of commands that name none; None is the image's own
    workdir: str | None = None  # likewise
    env: tuple[tuple[str, str], ...] = ()  # a tuple of pairs, so that a spec can be hashed
    entrypoint: bool = True  # run the image's own ENTRYPOINT/CMD as a child of the held shell
    setup: str = ""  # run once as root before anybody gets the sandbox (envfarm.toolbox.prepare)
    session: str | None = None  # likewise, a session to open with the spec's user and workdir


@dataclass(slots=True)
class Output:
    """One stream of a command: `data` is at most the limit long, with the middle cut out of anything longer."""

    data: bytes = b""
    total: int = 0  # bytes that the command wrote
    cut_at: int | None = None  # offset in `data` where the missing bytes were, None when nothing is missing
    spool: Path | None = None  # the whole of a cut output on the farm's disk; the caller owns and removes it


@dataclass(slots=True)
class ExecResult:
    """What a command did. Exit code 128+n is death by signal n; `None` when it was killed at its time-out."""

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    truncated: bool = False
    timed_out: bool = False
    seconds: float = 0.0
    stdout_info: Output = field(default_factory=Output)
    stderr_info: Output = field(default_factory=Output)
    session_ended: bool = False  # the command ended its session's shell (exit, exec, kill); the next one starts anew


def as_left(result: ExecResult) -> ExecResult:
    """A result that is asked for again: without the whole outputs that its first caller removed."""
    left = [
        info if info.spool is None or info.spool.exists() else replace(info, spool=None)
        for info in (result.stdout_info, result.stderr_info)
    ]
    return replace(result, stdout_info=left[0], stderr_info=left[1])


@dataclass(frozen=True, slots=True)
class SandboxInfo:
    """A sandbox that exists on a back end, found by its labels."""

    id: str
    owner: str
    lease: str
    running: bool
    created: float  # seconds since the epoch
    warm: bool = False  # it was prepared for a pool and offered, and `Backend.take` may take it back


class Sandbox(Protocol):
    """One isolated machine. Bytes in, bytes out. Calls are served one at a time, in the order they were made."""

    @property
    def id(self) -> str:
        """The name under which the back end finds it again, also after a restart of the farm."""

    @property
    def spec(self) -> SandboxSpec:
        """What it was started from."""

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
        """Run a command and wait for its own end, not for that of the children it left behind.

        Without `session` it gets a fresh shell. With one, it runs in the shell of that name, where working directory,
        exported variables and functions last from command to command.
        `timeout` is in seconds: it kills the command with all its descendants, and the sandbox lives on.
        `command_id` makes the call at-most-once: if the sandbox's last command had this id, it is not run again and
        its result is returned, after a restart of the farm too. `spool` keeps the whole of an output that was cut.
        With a session, `user`, `cwd` and `env` count only when it starts. Raises SandboxLost, FileProblem (`stdin`
        that finds no space), BadRequest (a NUL byte, a bad variable name).
        """

    async def recover(self, command_id: str, *, timeout: float, output_limit: int = OUTPUT_LIMIT) -> ExecResult | None:
        """The result of a command that an earlier farm process sent, waiting for its end; None if it never arrived.

        `timeout` is in seconds, counted from now.
        """

    async def read(self, path: str, *, limit: int | None = None) -> bytes:
        """A file's bytes. Raises FileProblem (`space` when it has more than `limit` bytes), SandboxLost."""

    async def write(self, path: str, data: bytes, *, mode: int | None = None, user: str | None = None) -> None:
        """Write a file in place (its owner and mode stay unless given), making missing parents. Raises FileProblem."""

    async def put_tree(self, tar: bytes, path: str) -> None:
        """Unpack a tar into a directory, with its modes and owners, making missing parents."""

    async def get_tree(self, path: str, *, exclude: Sequence[str] = (), limit: int | None = None) -> bytes:
        """A tar of a directory's contents (names relative to it), links as links.

        Entries named as in `exclude` are left out with all below them. Raises FileProblem (`space` when the tar has
        more than `limit` bytes; the rest is not read).
        """

    async def lost(self) -> SandboxLost | None:
        """Why it is dead, as far as its stream has told; None while it lives, which is asked of nobody.

        A stream that just broke is waited for until it is known what that means.
        """

    async def processes(self) -> list[int]:
        """Process ids alive in the sandbox that are not the farm's own."""

    async def kill_all(self) -> None:
        """Kill every process in the sandbox but the held shell; sessions start anew after it."""

    async def fork(self, leases: Sequence[str]) -> list[Sandbox]:
        """Sandboxes with this one's files, processes and sessions, all of one moment, one for each lease.

        A command that runs is waited for. Both sides then live on apart; a fork knows no `command_id` of its origin's.
        All are made or none. Raises ForkUnsupported where the back end cannot, SandboxError.
        """

    async def detach(self) -> None:
        """Let go of the stream and leave the sandbox running, for Backend.attach."""

    async def close(self) -> None:
        """End it and everything in it; never raises for one that is gone already."""


class Backend(Protocol):
    """Makes sandboxes, and finds those it made before."""

    @property
    def name(self) -> str:
        """`docker`, `kubernetes`, `local`, `simulated`."""

    async def start(self, spec: SandboxSpec, *, owner: str, lease: str) -> Sandbox:
        """Start a sandbox, labelled with the farm's and the lease's names.

        Raises SandboxStartError, BackendUnavailable, ImageError (no such image).
        """

    async def attach(self, sandbox_id: str) -> Sandbox:
        """Take back a running sandbox, with its sessions and its running command.

        One that does not answer is taken back too, and whatever is asked of it raises SandboxSilent.
        Raises SandboxLost.
        """

    async def take(self, spec: SandboxSpec, *, owner: str, lease: str) -> Sandbox | None:
        """A prepared sandbox that waits warm and that this process does not hold, where the back end keeps such.

        For the lease WARM it is one that this owner left when it was killed. For any other it may be another server's
        too, which sees it as lost (cause `claimed`). Raises BackendUnavailable.
        """

    async def offer(self, sandbox: Sandbox) -> None:
        """Let the farm's other servers take a prepared sandbox while it waits warm. Raises BackendUnavailable."""

    async def place(self) -> str | None:
        """Where its sandboxes are: equal for servers that reach each other's; None where they end with the server.

        Raises BackendUnavailable.
        """

    async def claim(self, sandbox: Sandbox, *, owner: str, lease: str) -> bool:
        """Have a sandbox for a lease; False when another server took it first. Raises BackendUnavailable."""

    async def find(self, owner: str) -> list[SandboxInfo]:
        """Every sandbox of that owner, running or not."""

    async def reap(self, owner: str, *, keep: Collection[str]) -> list[str]:
        """Remove the owner's sandboxes whose ids are not in `keep`; returns the ids removed."""

    async def close(self) -> None:
        """Let go of the engine; sandboxes stay."""
