"""The held shell: commands over one supervisor, one at a time, in fresh shells and in sessions."""

from __future__ import annotations

import asyncio
import contextlib
import time

from envfarm.toolbox.errors import SandboxError, SandboxLost
from envfarm.toolbox.sandboxes import scripts
from envfarm.toolbox.sandboxes.base import OUTPUT_LIMIT, ExecResult, Output
from envfarm.toolbox.sandboxes.rejoin import Rejoin, number
from envfarm.toolbox.sandboxes.session import Pending, Session
from envfarm.toolbox.sandboxes.supervisor import ANSWER

LOOK_FIRST, LOOK_LAST = 0.25, 5.0
"""Seconds until the farm first asks whether a silent command's watcher lives, and between such looks at most."""
_NO_SHELL = b"no shell starts in this sandbox any more\n"
PRELUDE = 5.0
"""Seconds in which a session's shell must take up the state of the one before it."""
RESENDS = 3
"""Times that a command goes again after the supervisor said that it never arrived."""


class Shell(Rejoin):
    """Runs commands. Calls must not overlap: the sandbox above holds a lock."""

    def __init__(self, secret: str) -> None:
        super().__init__(secret)
        self._cleanup: asyncio.Task[None] | None = None
        self.litter: list[str] = []  # files of ours that nobody removed yet

    # after a restart of the farm

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
        bounded: bool = False,
    ) -> ExecResult:
        """Run a script of the farm's to its end; `bounded` kills it soon after it printed more than `limit`."""
        token = self.token(command_id)
        pending = Pending(limit, spool=spool)
        pending.bounded = bounded
        self._watch(token, pending)
        pending.frame = self.frame("run", token, scripts.encode(text), ident="-" if command_id is None else token)
        self.send(pending.frame)
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
        """Run a model's command in a session, starting its shell when it has none.

        Where none starts any more the command's exit code is 127: that is the doing of who was in there.
        """
        token = self.token(command_id)
        body = scripts.session_command(scripts.encode(text), token, self.kind)
        tries = 2
        while tries:
            outages = self.outages
            pending = Pending(limit, spool=spool, session=session)
            self._watch(token, pending)
            self._pending = pending
            if not session.live:
                self._open(session, tool)
            pending.frame = self.frame("send", token, body, session.slot, "-" if command_id is None else token)
            self.send(pending.frame)
            result = await self._result(token, pending, session.slot, timeout)
            if not pending.died:
                return result
            session.live = False
            if outages == self.outages:  # else it is no fault of the shell's, which may never have been asked to start
                tries -= 1
                session.restore = session.ready
            if pending.began or result.timed_out:
                result.session_ended = True
                return result
        said = Output(_NO_SHELL, len(_NO_SHELL))
        return ExecResult(127, b"", _NO_SHELL, seconds=result.seconds, stderr_info=said, session_ended=True)

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
        self.send(self.frame("open", token, scripts.encode(f"#{session.label()}\n{text}"), session.slot))

    async def _result(self, token: str, pending: Pending, slot: object, timeout: float) -> ExecResult:
        self._pending = pending
        started = time.monotonic()
        try:
            timed_out = await self._ended(token, pending, slot, started, timeout)
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
        """Kill a command that nobody waits for, before the next one begins; what one that ended left lives on."""
        try:
            if not pending.ended:
                await self._kill(pending, slot)
        except SandboxLost:
            pass  # the next call says so
        finally:
            self._forget(token, pending)
            if pending.died and pending.session is not None:
                pending.session.live = False

    async def settle(self) -> None:
        """Wait until there is a stream, and nothing that was abandoned still runs. Every call begins with it.

        Raises SandboxLost.
        """
        await self.steady()
        if self._cleanup is not None:
            cleanup, self._cleanup = self._cleanup, None
            await asyncio.shield(cleanup)
        if self.recovered is not None:
            token, pending, slot = self.recovered
            self.recovered = None
            await self._abandon(token, pending, slot)
        if self.litter:
            names = " ".join(scripts.quote(path) for path in self.litter)
            self.litter.clear()
            await self.script(f"rm -f {names}", timeout=ANSWER)

    def abandon_spool(self, token: str, answer: asyncio.Future[tuple[bytes, bytes]]) -> None:
        """Have a spool that nobody waits for any more removed before the next call."""
        self._cleanup = asyncio.get_running_loop().create_task(self._drop(token, answer))

    async def _drop(self, token: str, answer: asyncio.Future[tuple[bytes, bytes]]) -> None:
        with contextlib.suppress(SandboxLost):  # the next call says so
            _, rest = await self.answered(token, answer)
            self.litter.append(rest.partition(b":")[2].decode())

    async def _ended(self, token: str, pending: Pending, slot: object, started: float, timeout: float) -> bool:
        """Wait for a command's end, or kill it at its time-out; returns whether that was needed."""
        loop = asyncio.get_running_loop()
        pause = LOOK_FIRST
        while not pending.ended:
            if self.is_away or self.is_lost:
                await self.steady()
                pause = LOOK_FIRST
                continue
            if not pending.began:
                started = max(started, self.back)  # it never arrived before: none of its time is spent
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
            if pending.ended or self.is_away or self.is_lost or gone >= timeout:
                continue
            if (
                time.monotonic() - max(started, self.back) > PRELUDE
                and pending.session is not None
                and not pending.session.ready
            ):
                await self._kill(pending, slot)
                return False
            if pending.bounded and any(capture.over for capture in pending.captures.values()):
                await self._kill(pending, slot)
                return False
            await self._look(token, pending, slot)
            pause = min(max(pause, gone / 4), LOOK_LAST)
        return False

    async def _look(self, token: str, pending: Pending, slot: object) -> None:
        """End a command whose watcher was killed with it, so that no marker will come, or send what never arrived."""
        kind, rest = await self.ask("look", slot, pending.pid)
        code, _, taken = rest.rpartition(b":")
        if pending.ended:
            return
        waits = kind == b"a" or pending.session is None  # there is somebody to send it to
        if taken != token.encode() and waits and pending.frame and pending.resent < RESENDS:
            pending.resent += 1
            self.send(self.current(pending.frame))
        elif kind == b"g":
            await self.ask("kill", slot, pending.pid)
            self._give_up(pending, number(code))

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
