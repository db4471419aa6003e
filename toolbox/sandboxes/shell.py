"""The held shell: one stream to a sandbox's main process that carries every command, one at a time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from envfarm.toolbox.errors import SandboxError, SandboxLost
from envfarm.toolbox.sandboxes import scripts
from envfarm.toolbox.sandboxes.base import OUTPUT_LIMIT, ExecResult
from envfarm.toolbox.sandboxes.replay import History, Replay
from envfarm.toolbox.sandboxes.stream import TOKEN, Capture, Reader

HEADER = 128
LOOK_FIRST, LOOK_LAST = 0.25, 5.0
"""Seconds until the farm first asks whether a silent command's watcher lives, and between such looks at most."""
PRELUDE = 5.0
"""Seconds in which a session's shell must take up the state of the one before it."""
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

    __slots__ = ("began", "captures", "code", "died", "ended", "seen", "session", "waiter")

    def __init__(self, limit: int | None, *, spool: bool, session: Session | None = None) -> None:
        self.session = session
        self.captures = {1: Capture(limit, spool=spool), 2: Capture(limit, spool=spool)}
        self.began = False  # the shell has taken the command up
        self.seen: set[int] = set()
        self.code = 0
        self.died = False
        self.ended = False
        self.waiter: asyncio.Future[None] | None = None

    @property
    def pid(self) -> str:
        """The process id of its session's shell, `-` when it has none."""
        return "-" if self.session is None else self.session.pid

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Shell:
    """What the farm knows about one supervisor. Calls must not overlap: the sandbox above holds a lock."""

    def __init__(self, secret: str) -> None:
        self.kind: scripts.Kind = "bash"
        self.reader = Reader()
        self.reader.authentic = self.authentic
        self.wire: Wire | None = None
        self._key = secret.encode()
        self._count = secrets.randbits(32)  # so that two processes of the farm hardly ever use a token twice
        self._pending: Pending | None = None
        self._lost: SandboxLost | None = None
        self._cleanup: asyncio.Task[None] | None = None
        self._replay: Replay | None = None
        self.recovered: tuple[str, Pending, str] | None = None  # the command that ran when an earlier farm went away
        self._asked: dict[bytes, asyncio.Future[tuple[bytes, bytes]]] = {}
        self.hello = self.token("hello")
        self.greeting = self.expect(self.hello)

    # tokens and frames

    def token(self, name: str | None = None) -> str:
        """A name for a command's markers: a nonce and its signature.

        A command with an id gets its nonce from the id, so that a later process of the farm finds its markers again.
        """
        if name is None:
            self._count = (self._count + 1) & 0xFFFFFFFF
            nonce = f"{self._count:08x}"
        else:
            nonce = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
            return nonce + self._sign(name, "id")
        return nonce + self._sign(nonce, "n")

    def _sign(self, text: str, kind: str) -> str:
        return hashlib.blake2b(f"{kind}:{text}".encode(), key=self._key, digest_size=TOKEN // 2 - 4).hexdigest()

    def authentic(self, token: bytes) -> bool:
        """Whether a farm with our secret made a token, for anything but a command with an id."""
        try:
            text = token.decode("ascii")
        except UnicodeDecodeError:
            return False
        return text[8:] == self._sign(text[:8], "n")

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

    async def ask(
        self, op: str, slot: object = "-", ident: str = "-", *, timeout: float = ANSWER
    ) -> tuple[bytes, bytes]:
        """Send a frame that the supervisor itself answers; returns the answer's kind and arguments."""
        token = self.token()
        answer = self.expect(token)
        self.send(op, token, slot=slot, ident=ident)
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
        if self._replay is not None:
            self._replay.add(stream, data)
        else:
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
        if self._replay is not None:
            self._replay.fail(self._lost)
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

    # after a restart of the farm

    async def resume(self, history: History) -> list[Session]:
        """Take over a supervisor that an earlier farm started; returns its sessions.

        What it printed before is in the engine's log, what it prints from now on in the stream: its answer to a
        greeting stands in both, and there the two are joined. Raises SandboxLost.
        """
        token = self.token()
        replay = self._replay = Replay(token.encode())
        self.send("hello", token)
        try:
            async with asyncio.timeout(ANSWER):
                answer = await replay.answer
        except TimeoutError:
            self.fail(SandboxLost(f"the sandbox's main process did not answer in {ANSWER:g} s", cause="stream"))
            raise self.lost from None
        head, *labels = answer.split()
        kind, last, slot = head.decode().split(":")
        self.kind = "bash" if kind == "bash" else "sh"
        sessions = []
        for label in labels:
            number, session_token, text = label.decode().split(":")
            session = Session.from_label(int(number), text.removeprefix("#"))
            self._watch_session(session_token, session)
            sessions.append(session)
        past = await replay.past(history)
        if last != "-":
            running = next((one for one in sessions if str(one.slot) == slot), None)
            pending = self._pending = Pending(OUTPUT_LIMIT, spool=False, session=running)
            self._watch(last, pending)
            self.recovered = (last, pending, slot)
        self._replay = None
        for stream in (1, 2):
            self.reader.feed(stream, past[stream])
            if last != "-" and not pending.ended and self.reader.sinks[stream] is None and stream not in pending.seen:
                self.reader.sinks[stream] = pending.captures[stream]  # its beginning has left the log
                pending.began = True
            self.reader.feed(stream, replay.future(stream))
        return sessions

    async def recover(self, command_id: str, *, timeout: float) -> ExecResult | None:
        """The result of the command that an earlier farm sent last, if it was this one."""
        if self.recovered is None or self.recovered[0] != self.token(command_id):
            return None
        token, pending, slot = self.recovered
        self.recovered = None
        result = await self._result(token, pending, slot, timeout)
        if pending.died and pending.session is not None:
            pending.session.live = False
            result.session_ended = True
        return result

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
        for _ in range(2):
            pending = Pending(limit, spool=spool, session=session)
            self._watch(token, pending)
            self._pending = pending
            if not session.live:
                self._open(session, tool)
            self.send("send", token, body, session.slot, "-" if command_id is None else token)
            result = await self._result(token, pending, session.slot, timeout)
            if not pending.died:
                return result
            session.live = False
            session.restore = session.ready
            if pending.began or result.timed_out:
                result.session_ended = True
                return result
        raise SandboxError("a new shell does not start in this sandbox")

    def _open(self, session: Session, tool: str) -> None:
        token = self.token()
        text = scripts.open_session(
            token,
            kind=self.kind,
            prefix=scripts.become(session.user, tool),
            cwd=session.cwd,
            env=session.env,
            restore=session.restore,
        )
        session.live, session.ready, session.restore = True, False, True
        self._watch_session(token, session)
        self.send("open", token, scripts.encode(f"#{session.label()}\n{text}"), session.slot)

    def _watch_session(self, token: str, session: Session) -> None:
        """Take what a session's keeper says: that its shell is ready, that it ended."""
        key = token.encode()
        if session.token is not None:
            self.reader.handlers.pop(session.token, None)
        session.token = key

        def handler(stream: int, kind: bytes, rest: bytes) -> None:
            if kind == b"r":
                session.ready, session.pid = True, rest.decode()
                return
            session.live = False
            pending = self._pending
            if pending is not None and pending.session is session and not pending.ended:
                pending.died = True
                self._close_stream(pending, stream, rest)

        self.reader.handlers[key] = handler

    async def _result(self, token: str, pending: Pending, slot: object, timeout: float) -> ExecResult:
        self._pending = pending
        started = time.monotonic()
        try:
            timed_out = await self._ended(pending, slot, started, timeout)
        except asyncio.CancelledError:
            if self._lost is None:
                self._cleanup = asyncio.get_running_loop().create_task(self._abandon(token, pending, slot))
            raise
        except SandboxError:
            self._forget(token, pending)
            raise
        self._release(token)
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

    def _release(self, token: str) -> None:
        self._pending = None
        self.reader.handlers.pop(token.encode(), None)
        self.reader.sinks[1] = self.reader.sinks[2] = None

    def _forget(self, token: str, pending: Pending) -> None:
        self._release(token)
        for capture in pending.captures.values():
            capture.discard()

    async def _abandon(self, token: str, pending: Pending, slot: object) -> None:
        """Kill a command whose caller was cancelled, before the next one begins."""
        try:
            await self._kill(pending, slot)
        except SandboxLost:
            pass  # the next call says so
        finally:
            self._forget(token, pending)
            if pending.died and pending.session is not None:
                pending.session.live = False

    async def settle(self) -> None:
        """Wait until nothing that was abandoned still runs. Every call begins with it."""
        if self._cleanup is not None:
            cleanup, self._cleanup = self._cleanup, None
            await asyncio.shield(cleanup)
        if self.recovered is not None:
            token, pending, slot = self.recovered
            self.recovered = None
            await self._abandon(token, pending, slot)

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
            gone = time.monotonic() - started
            if pending.ended or self._lost is not None or gone >= timeout:
                continue
            if gone > PRELUDE and pending.session is not None and not pending.session.ready:
                await self._kill(pending, slot)
                return False
            await self._look(pending, slot)
            pause = min(max(pause, gone / 4), LOOK_LAST)
        return False

    async def _look(self, pending: Pending, slot: object) -> None:
        """End a command whose watcher was killed with it, so that no marker will come."""
        kind, code = await self.ask("look", slot, pending.pid)
        if kind == b"g" and not pending.ended:
            await self.ask("kill", slot, pending.pid)
            self._give_up(pending, int(code))

    async def _kill(self, pending: Pending, slot: object) -> None:
        """Kill a command with its descendants, and take what it printed until then."""
        await self.ask("kill", slot, pending.pid)
        for _ in range(100):
            if pending.ended:
                return
            kind, _ = await self.ask("look", slot, pending.pid)
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
