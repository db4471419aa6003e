"""The held shell: one stream to a sandbox's main process that carries every command, one at a time."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from envfarm.toolbox.errors import SandboxError, SandboxLost
from envfarm.toolbox.sandboxes import scripts
from envfarm.toolbox.sandboxes.base import OUTPUT_LIMIT, ExecResult
from envfarm.toolbox.sandboxes.stream import TOKEN, Capture, Reader

HEADER = 128
LOOK_FIRST, LOOK_LAST = 0.25, 5.0
"""Seconds until the farm first asks whether a silent command's watcher lives, and the longest pause between two looks."""
ANSWER = 60.0
"""Seconds in which the supervisor, which only reads, must answer."""


class Wire(Protocol):
    """The way to the main process's standard input."""

    def write(self, data: bytes) -> None:
        """Queue bytes."""

    async def drain(self) -> None:
        """Wait until most of what is queued has gone."""

    def close(self) -> None:
        """Let go; the main process lives on."""


@dataclass(slots=True)
class Session:
    """A named shell that lasts from command to command."""

    slot: int
    user: str | None
    cwd: str | None
    env: Mapping[str, str]
    live: bool = False  # its shell was started and has not been seen to end
    ready: bool = False  # that shell got through its prelude
    opened: bool = False  # it ran before, so that there is a state to take up


class Pending:
    """A command on its way."""

    __slots__ = ("began", "captures", "code", "died", "ended", "seen", "waiter")

    def __init__(self, limit: int | None, *, spool: bool) -> None:
        self.captures = {1: Capture(limit, spool=spool), 2: Capture(limit, spool=spool)}
        self.began = False  # the shell has taken the command up
        self.seen: set[int] = set()
        self.code = 0
        self.died = False
        self.ended = False
        self.waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Shell:
    """What the farm knows about one supervisor. Calls must not overlap: the sandbox above holds a lock."""

    def __init__(self, secret: str) -> None:
        self.kind: scripts.Kind = "bash"
        self.reader = Reader()
        self.wire: Wire | None = None
        self._key = secret.encode()
        self._epoch = secrets.token_hex(4)
        self._count = 0
        self._pending: Pending | None = None
        self._lost: SandboxLost | None = None
        self._asked: dict[bytes, asyncio.Future[tuple[bytes, bytes]]] = {}
        self.hello = self.token("hello")
        self.greeting = self.expect(self.hello)

    # tokens and frames

    def token(self, name: str | None = None) -> str:
        """A name for a command's markers; derived from the command's id, so that a later process finds it again."""
        if name is None:
            self._count += 1
            name = f"{self._epoch}:{self._count}"
        else:
            name = f"id:{name}"
        return hashlib.blake2b(name.encode(), key=self._key, digest_size=TOKEN // 2).hexdigest()

    def send(self, op: str, token: str, text: bytes = b"", slot: object = "-", ident: str = "-") -> None:
        """Send one frame. Raises SandboxLost."""
        if self._lost is not None:
            raise self._lost
        if self.kind == "sh" and text and not text.endswith(b"\n"):
            text += b"\n"
        lines = text.count(b"\n") if self.kind == "sh" else 0
        head = f"@ {op} {token} {len(text)} {lines} {slot} {ident}"
        assert self.wire is not None
        self.wire.write(head.ljust(HEADER - 1).encode() + b"\n" + text)

    async def ask(self, op: str, slot: object = "-", *, timeout: float = ANSWER) -> tuple[bytes, bytes]:
        """Send a frame that the supervisor itself answers; returns the answer's kind and arguments."""
        token = self.token()
        answer = self.expect(token)
        self.send(op, token, slot=slot)
        return await self.answered(token, answer, timeout)

    def expect(self, token: str) -> asyncio.Future[tuple[bytes, bytes]]:
        """A future for the supervisor's answer, which comes on both streams: it is done after the second."""
        key = token.encode()
        answer: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()
        first: list[int] = []

        def handler(stream: int, kind: bytes, rest: bytes) -> None:
            first.append(stream)
            if len(first) == 2:
                del self.reader.handlers[key]
                self._asked.pop(key, None)
                if not answer.done():
                    answer.set_result((kind, rest))

        self._asked[key] = answer
        self.reader.handlers[key] = handler
        return answer

    async def answered(
        self, token: str, answer: asyncio.Future[tuple[bytes, bytes]], timeout: float
    ) -> tuple[bytes, bytes]:
        """Wait for an answer. Raises SandboxLost when none comes."""
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            self.fail(SandboxLost(f"the sandbox's main process did not answer in {timeout:g} s", cause="stream"))
            raise self.lost from None
        finally:
            self._asked.pop(token.encode(), None)

    # what the stream brings

    def feed(self, stream: int, data: bytes) -> None:
        """Take bytes that the main process wrote."""
        self.reader.feed(stream, data)

    def fail(self, error: SandboxLost) -> None:
        """The stream is gone: end everything that waits."""
        if self._lost is None:
            self._lost = error
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(self._lost)
                answer.exception()  # nobody may be waiting any more
        self._asked.clear()
        if self._pending is not None:
            self._pending.wake()

    @property
    def lost(self) -> SandboxLost:
        """Why the stream is gone."""
        assert self._lost is not None
        return self._lost

    @property
    def is_lost(self) -> bool:
        """Whether the stream is gone."""
        return self._lost is not None

    def _watch(self, token: str, pending: Pending) -> None:
        """Take a command's markers."""
        key = token.encode()
        sinks = self.reader.sinks

        def handler(stream: int, kind: bytes, rest: bytes) -> None:
            if kind == b"b":
                sinks[stream] = pending.captures[stream]
                pending.began = pending.began or stream == 1
            elif kind == b"e":
                self._close_stream(pending, stream, rest)

        self.reader.handlers[key] = handler

    def _close_stream(self, pending: Pending, stream: int, code: bytes) -> None:
        self.reader.sinks[stream] = None
        pending.seen.add(stream)
        pending.code = int(code)
        if len(pending.seen) == 2:
            pending.ended = True
            pending.wake()

    # commands

    async def script(
        self,
        text: str,
        *,
        timeout: float,
        limit: int | None = OUTPUT_LIMIT,
        spool: bool = False,
        command_id: str | None = None,
    ) -> ExecResult:
        """Run a script of the farm's to its end."""
        token = self.token(command_id)
        pending = Pending(limit, spool=spool)
        self._watch(token, pending)
        self.send("run", token, scripts.encode(text), ident="-" if command_id is None else token)
        return await self._result(token, pending, "-", timeout)

    async def command(
        self,
        session: Session,
        text: str,
        *,
        timeout: float,
        limit: int,
        spool: bool,
        command_id: str | None,
        tool: str,
    ) -> ExecResult:
        """Run a model's command in a session, starting its shell when it has none."""
        token = self.token(command_id)
        body = scripts.session_command(scripts.encode(text), token, self.kind)
        bare = False
        while True:
            pending = Pending(limit, spool=spool)
            self._watch(token, pending)
            self._pending = pending
            if not session.live:
                self._open(session, tool, bare=bare)
            self.send("send", token, body, session.slot, "-" if command_id is None else token)
            result = await self._result(token, pending, session.slot, timeout)
            if not pending.died:
                return result
            session.live = False
            if pending.began or result.timed_out:
                result.session_ended = True
                return result
            if bare:
                raise SandboxError("a new shell does not start in this sandbox")
            bare = not session.ready  # the state that it should take up does not let it start

    def _open(self, session: Session, tool: str, *, bare: bool) -> None:
        token = self.token()
        text = scripts.open_session(
            token,
            kind=self.kind,
            prefix=scripts.become(session.user, tool),
            cwd=session.cwd,
            env=session.env,
            restore=session.opened and not bare,
        )
        session.live, session.ready, session.opened = True, False, True
        key = token.encode()
        seen: set[int] = set()

        def handler(stream: int, kind: bytes, rest: bytes) -> None:
            if kind == b"r":
                session.ready = True
                return
            seen.add(stream)
            if len(seen) == 2:
                del self.reader.handlers[key]
                session.live = False
            pending = self._pending
            if pending is not None and not pending.ended:
                pending.died = True
                self._close_stream(pending, stream, rest)

        self.reader.handlers[key] = handler
        self.send("open", token, scripts.encode(text), session.slot)

    async def _result(self, token: str, pending: Pending, slot: object, timeout: float) -> ExecResult:
        self._pending = pending
        started = time.monotonic()
        try:
            timed_out = await self._ended(pending, slot, started, timeout)
        except BaseException:
            for capture in pending.captures.values():
                capture.discard()
            raise
        finally:
            self._pending = None
            self.reader.handlers.pop(token.encode(), None)
            self.reader.sinks[1] = self.reader.sinks[2] = None
        out, err = pending.captures[1].output(), pending.captures[2].output()
        return ExecResult(
            exit_code=None if timed_out else pending.code,
            stdout=out.data,
            stderr=err.data,
            truncated=out.cut_at is not None or err.cut_at is not None,
            timed_out=timed_out,
            seconds=time.monotonic() - started,
            stdout_info=out,
            stderr_info=err,
        )

    async def _ended(self, pending: Pending, slot: object, started: float, timeout: float) -> bool:
        """Wait for a command's end, or kill it at its time-out; returns whether that was needed."""
        loop = asyncio.get_running_loop()
        pause = LOOK_FIRST
        while not pending.ended:
            if self._lost is not None:
                raise self._lost
            left = started + timeout - time.monotonic()
            if left <= 0:
                await self._kill(pending, slot)
                return True
            pending.waiter = loop.create_future()
            alarm = loop.call_later(min(pause, left), pending.wake)
            try:
                await pending.waiter
            finally:
                alarm.cancel()
            if not pending.ended and self._lost is None and time.monotonic() < started + timeout:
                await self._look(pending, slot)
                pause = min(max(pause, (time.monotonic() - started) / 4), LOOK_LAST)
        return False

    async def _look(self, pending: Pending, slot: object) -> None:
        """End a command whose watcher was killed with it, so that no marker will come."""
        kind, code = await self.ask("look", slot)
        if kind == b"g" and not pending.ended:
            await self.ask("kill", slot)
            self._give_up(pending, int(code))

    async def _kill(self, pending: Pending, slot: object) -> None:
        """Kill a command with its descendants, and take what it printed until then."""
        await self.ask("kill", slot)
        for _ in range(100):
            if pending.ended:
                return
            kind, code = await self.ask("look", slot)
            if pending.ended:
                return
            if kind == b"g":
                break
            await asyncio.sleep(0.01)
        self._give_up(pending, 137)

    def _give_up(self, pending: Pending, code: int) -> None:
        for stream in (1, 2):
            self.reader.flush(stream)
        pending.died = True
        pending.code = code
        pending.ended = True
