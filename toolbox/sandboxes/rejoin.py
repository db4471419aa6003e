"""Taking hold of a supervisor again: after a restart of the farm, and when a stream broke while the sandbox lives."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping

from envfarm.toolbox.errors import BackendUnavailable, SandboxSilent
from envfarm.toolbox.sandboxes.base import OUTPUT_LIMIT
from envfarm.toolbox.sandboxes.replay import History, Replay
from envfarm.toolbox.sandboxes.session import Pending, Session
from envfarm.toolbox.sandboxes.stream import PREFIX
from envfarm.toolbox.sandboxes.supervisor import FILLS, FLOODS, Supervisor, Wire


class Rejoin(Supervisor):
    """A supervisor whose markers are known, so that its past can be joined with its future."""

    def __init__(self, secret: str) -> None:
        super().__init__(secret)
        self.recovered: tuple[str, Pending, str] | None = None  # the command that ran when an earlier farm went away
        self.blurred = 0  # how often a stream's past could not be told exactly

    # markers

    def _watch(self, token: str, pending: Pending) -> None:
        """Take a command's markers."""
        key = pending.token = token.encode()
        sinks = self.reader.sinks

        def handler(stream: int, kind: bytes, rest: bytes) -> None:
            if kind == b"b":
                sinks[stream] = pending.captures[stream]
                pending.begun.add(stream)
            elif kind == b"e":
                if stream not in pending.begun:  # its beginning has left the log while the stream was broken
                    pending.captures[stream].gap()
                self._close_stream(pending, stream, rest)

        self.reader.handlers[key] = handler

    def _close_stream(self, pending: Pending, stream: int, code: bytes) -> None:
        self.reader.sinks[stream] = None
        pending.seen.add(stream)
        pending.code = number(code)
        if len(pending.seen) == 2:
            pending.ended = True
            pending.wake()

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

    # joining

    def hold(self) -> None:
        """Hold back what the next stream brings, until `resume` or `rejoin` has the past. Call it before attaching."""
        if self.wire is not None:
            self.wire.close()
        self._hold()

    def _hold(self) -> None:
        self._token = self.token()
        self._replay = Replay(self._token.encode())
        self._broke = asyncio.get_running_loop().create_future()

    async def _greeted(self, history: History) -> Replay:
        """Begin an era, and read what was printed before. Raises BackendUnavailable (the stream broke), SandboxLost."""
        replay = self._replay
        assert replay is not None
        assert self.wire is not None
        self.era = f"@{secrets.token_hex(3)}"
        frame = self.frame("hello", self._token)
        self.wire.write(frame)
        cut = self.in_pieces or (self._pending is not None and self._pending.frame and not self._pending.began)
        if not await self.waited(replay.answer, None, frame, FILLS if cut else FLOODS):
            raise BackendUnavailable("the stream to the sandbox broke again")
        replay.answer.result()  # raises what was lost meanwhile
        self.wire.pause()  # what the sandbox prints now waits there, not here
        try:
            await replay.read(history)
        finally:
            self.wire.resume()
        if self._broke.done():
            raise BackendUnavailable("the stream to the sandbox broke again")
        return replay

    async def resume(self, history: History) -> list[Session]:
        """Take over a supervisor that an earlier farm started; returns its sessions.

        What it printed before is in the engine's log, what it prints from now on in the stream: its answer to a
        greeting stands in both, and there the two are joined. Raises BackendUnavailable, SandboxLost.
        """
        if self._replay is None:
            self._hold()
        try:
            replay = await self._greeted(history)
        except SandboxSilent as silent:
            self.fail(silent)
            raise
        head, *labels = replay.answer.result().split()
        kind, last, slot = head.decode().split(":")
        self.kind = "bash" if kind == "bash" else "sh"
        sessions = []
        for label in labels:
            slot_number, session_token, text = label.decode().split(":")
            session = Session.from_label(int(slot_number), text.removeprefix("#"))
            self._watch_session(session_token, session)
            sessions.append(session)
        if last != "-":
            running = next((one for one in sessions if str(one.slot) == slot), None)
            pending = self._pending = Pending(OUTPUT_LIMIT, spool=False, session=running)
            pending.begun |= {1, 2}  # the supervisor says that it took it
            self._watch(last, pending)
            self.recovered = (last, pending, slot)
        self._join(replay, {1: None, 2: None})
        return sessions

    async def rejoin(self, wire: Wire, history: History) -> None:
        """Go on with another stream in the place of one that broke: the running command, and what was asked.

        The past is what the log holds beyond what came; where it no longer shows where that is, or does not tell the
        streams apart, the command's output is taken from the log anew, as far as that reaches back.
        Raises BackendUnavailable (this stream broke too), SandboxLost.
        """
        self.wire = wire
        replay = await self._greeted(history)
        past = replay.past
        beyond = {
            stream: None if replay.merged else self.reader.beyond(stream, past[stream], drops_cr=replay.drops_cr)
            for stream in (1, 2)
        }
        if self._pending is not None:
            self._pending.resent = 0
            self.blurred += None in beyond.values()
        self._join(replay, beyond)
        self.rejoined()

    def _join(self, replay: Replay, beyond: Mapping[int, bytes | None]) -> None:
        """Feed what was missed, or where that is not known all that is left, and then what came since."""
        self._replay = None
        for stream, missed in beyond.items():
            if missed is None:
                self._refill(stream, replay.past[stream])
                missed = replay.past[stream]
            self.reader.feed(stream, missed)
            self.reader.feed(stream, replay.future(stream))

    def _refill(self, stream: int, past: bytes) -> None:
        """Prepare for a whole log, in which the running command's output may stand once more."""
        self.reader.restart(stream)
        pending = self._pending
        if pending is None or pending.ended:
            return
        if PREFIX + pending.token + b":b" in past:
            pending.captures[stream] = pending.captures[stream].anew()
            pending.begun.discard(stream)
            pending.seen.discard(stream)
        elif stream in pending.begun and stream not in pending.seen:  # its beginning has left the log
            pending.captures[stream].gap()
            self.reader.sinks[stream] = pending.captures[stream]

    def anew(self, sessions: Iterable[Session]) -> None:
        """Begin with the supervisor of a fork, whose log is empty: have it say again what a later farm must find there.

        What its origin's last command was, it forgets: that command's end stands in the origin's log alone.
        """
        self.send(self.frame("anew", self.token()))
        for session in sessions:
            if session.live and session.token is not None:
                self.send(self.frame("anew", session.token.decode(), slot=session.slot, ident=session.pid))


def number(code: bytes) -> int:
    """An exit code, whatever root in the sandbox may have put in its place."""
    return int(code) if code.isdigit() and len(code) <= 3 else 137
