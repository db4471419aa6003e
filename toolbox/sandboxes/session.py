"""A session's shell, and a command on its way: what the farm knows of each."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from envfarm.toolbox.sandboxes.stream import Capture


@dataclass(slots=True)
class Session:
    """A named shell that lasts from command to command."""

    slot: int
    name: str
    user: str | None
    cwd: str | None
    env: Mapping[str, str]
    live: bool = False  # its shell was started and has not been seen to end
    ready: bool = False  # that shell got through its prelude
    pid: str = "-"  # of its shell, as the sandbox counts
    token: bytes | None = None  # of its shell's markers
    restore: bool = False  # there is a state to take up, and no shell failed to do so

    def label(self) -> str:
        """What the supervisor keeps of it for a farm that starts again."""
        about = [self.name, self.user, self.cwd, dict(self.env)]
        return base64.urlsafe_b64encode(json.dumps(about).encode()).decode()

    @classmethod
    def from_label(cls, slot: int, label: str) -> Session:
        """The session that a label describes; its shell is taken to live."""
        name, user, cwd, env = json.loads(base64.urlsafe_b64decode(label))
        return cls(slot, name, user, cwd, env, live=True, ready=True, restore=True)


class Pending:
    """A command on its way."""

    __slots__ = (
        "begun",
        "bounded",
        "captures",
        "code",
        "died",
        "ended",
        "frame",
        "resent",
        "seen",
        "session",
        "token",
        "waiter",
    )

    def __init__(self, limit: int | None, *, spool: bool, session: Session | None = None) -> None:
        self.session = session
        self.captures = {1: Capture(limit, spool=spool), 2: Capture(limit, spool=spool)}
        self.bounded = False
        self.token = b""  # of its markers
        self.frame = b""  # what brought it; nothing when an earlier farm sent it
        self.resent = 0
        self.begun: set[int] = set()  # the streams that said so
        self.seen: set[int] = set()
        self.code = 0
        self.died = False
        self.ended = False
        self.waiter: asyncio.Future[None] | None = None

    @property
    def began(self) -> bool:
        """Whether the shell has taken the command up."""
        return 1 in self.begun

    @property
    def pid(self) -> str:
        """The process id of its session's shell, `-` when it has none."""
        return "-" if self.session is None else self.session.pid

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
