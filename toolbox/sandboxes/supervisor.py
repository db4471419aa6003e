"""The supervisor, a sandbox's main process: frames to it, and its answers. `program/supervisor.sh` is the other end."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from envfarm.toolbox.errors import SandboxLost, SandboxSilent
from envfarm.toolbox.sandboxes import scripts
from envfarm.toolbox.sandboxes.replay import Replay
from envfarm.toolbox.sandboxes.session import Pending
from envfarm.toolbox.sandboxes.stream import TOKEN, Reader

Answer = TypeVar("Answer")
HEADER = 128
FIRST_ERA = "@000000"
ANSWER = 60.0
"""Seconds in which the supervisor, which only reads, must answer."""
BLANK = b" " * (HEADER - 1) + b"\n"
FLOODS = ((1.0, 2), (1.0, 32), (2.0, 512), (4.0, 8 << 10), (8.0, 160 << 10))
"""Seconds of silence, and how many blank lines then go before a question that is asked again.

Root in the sandbox can take bytes of a frame away, or put the header of a frame of its own there: the supervisor then
waits for bytes that nobody sends, at most as many as the last of these has. Lines are long, for to skip one costs a
shell more than to read it.
"""

FILLS = ((0.3, 2), (0.3, 32), (0.3, 512), (0.5, 2 << 10), (0.5, 8 << 10), (1.0, 32 << 10), (2.0, 128 << 10))
"""The same after a frame that was cut: somebody waits for the rest, unless none of it arrived.

Some shells skip a byte at a time: what is too much costs more than a pause.
"""


class Wire(Protocol):
    """The way to the main process's standard input."""

    def write(self, data: bytes) -> None:
        """Queue bytes."""

    async def drain(self) -> None:
        """Wait until most of what is queued has gone."""

    def pause(self) -> None:
        """Read no more until `resume`."""

    def resume(self) -> None:
        """Read on."""

    def close(self) -> None:
        """Let go; the main process lives on."""


class Supervisor:
    """The farm's end of one held stream."""

    def __init__(self, secret: str) -> None:
        self.kind: scripts.Kind = "bash"
        self.reader = Reader()
        self.reader.authentic = self.authentic
        self.wire: Wire | None = None
        self.secret = secret
        self.era = FIRST_ERA  # of the frames: the supervisor takes those of the last `hello` only
        self.in_pieces = False  # a frame is on its way in pieces
        self.outages = 0  # how often the stream broke
        self.back = 0.0  # when it was there again, by the monotonic clock
        self._count = secrets.randbits(32)  # so that two processes of the farm hardly ever use a token twice
        self._pending: Pending | None = None
        self._lost: SandboxLost | None = None
        self._replay: Replay | None = None
        self._away: asyncio.Future[None] | None = (
            None  # while there is no stream: done when there is one, or never will
        )
        self._broke: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # done when this stream breaks
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
        return hashlib.blake2b(
            f"{kind}:{text}".encode(), key=self.secret.encode(), digest_size=TOKEN // 2 - 4
        ).hexdigest()

    def authentic(self, token: bytes) -> bool:
        """Whether a farm with our secret made a token, for anything but a command with an id."""
        try:
            text = token.decode("ascii")
        except UnicodeDecodeError:
            return False
        return text[8:] == self._sign(text[:8], "n")

    def frame(self, op: str, token: str, text: bytes = b"", slot: object = "-", ident: str = "-") -> bytes:
        """The bytes of one frame."""
        if text:
            line = b"\n" if self.kind == "sh" else b""
            text += (b"" if text.endswith(b"\n") else line) + token.encode() + line
        lines = text.count(b"\n") if self.kind == "sh" else 0
        return self.head(op, token, len(text), lines, slot, ident) + text

    def head(self, op: str, token: str, length: int, lines: int = 0, slot: object = "-", ident: str = "-") -> bytes:
        """The line that begins a frame."""
        line = f"{self.era} {op} {token} {length} {lines} {slot} {ident}"
        if self.kind == "bash":
            return line.ljust(HEADER - 1).encode() + b"\n"
        # sh reads lines, and a payload's reader may have been killed half-way: what it left ends here.
        return f"\n{line}\n".encode()

    def current(self, frame: bytes) -> bytes:
        """The same frame in the era that it is now."""
        start = frame.find(b"@")
        return frame[:start] + self.era.encode() + frame[start + len(self.era) :] if frame else frame

    def send(self, frame: bytes) -> None:
        """Send one frame, on a stream that is there: what matters is sent again on the next. Raises SandboxLost."""
        if self._away is None:
            self._write(frame)

    def _write(self, frame: bytes) -> None:
        if self._lost is not None:
            raise self._lost
        assert self.wire is not None
        self.wire.write(frame)

    async def ask(
        self, op: str, slot: object = "-", ident: str = "-", *, timeout: float | None = None
    ) -> tuple[bytes, bytes]:
        """Send a frame that the supervisor itself answers; returns the answer's kind and arguments."""
        token = self.token()
        answer = self.expect(token)
        frame = self.frame(op, token, slot=slot, ident=ident)
        self.send(frame)
        return await self.answered(token, answer, timeout, again=frame)

    def expect(self, token: str) -> asyncio.Future[tuple[bytes, bytes]]:
        """A future for the supervisor's answer, which comes on both streams: it is done after the second."""
        key = token.encode()
        answer: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()
        seen: set[int] = set()  # what a log has is said once more

        def handler(stream: int, kind: bytes, rest: bytes) -> None:
            seen.add(stream)
            if len(seen) == 2:
                self.reader.handlers.pop(key, None)
                self._asked.pop(key, None)
                if not answer.done():
                    answer.set_result((kind, rest))

        self._asked[key] = answer
        self.reader.handlers[key] = handler
        return answer

    async def answered(
        self,
        token: str,
        answer: asyncio.Future[tuple[bytes, bytes]],
        timeout: float | None = None,
        *,
        again: bytes = b"",
    ) -> tuple[bytes, bytes]:
        """Wait for an answer; `again` is the frame to ask with again. Raises SandboxSilent, SandboxLost."""
        try:
            return await self.wait(answer, timeout, again)
        finally:
            self._asked.pop(token.encode(), None)

    async def wait(self, answer: asyncio.Future[Answer], timeout: float | None, again: bytes) -> Answer:
        """Wait for what answers a frame, which goes again into a silence.

        `timeout` is in seconds, ANSWER when it is None. A caller that is cancelled leaves the future to be waited for.
        While the stream is broken no time passes. Raises SandboxSilent when nothing comes, SandboxLost.
        """
        try:
            while not await self.waited(answer, timeout, again):
                await self.steady()
                again = self.current(again)
                if again and not answer.done():
                    self.send(again)
        except SandboxSilent as silent:
            self.fail(silent)
            raise self.lost from None
        return answer.result()

    async def waited(
        self,
        answer: asyncio.Future[Answer],
        timeout: float | None,
        again: bytes,
        floods: Sequence[tuple[float, int]] = FLOODS,
    ) -> bool:
        """Wait for an answer on this stream; False when it broke before one came.

        Raises SandboxSilent, which ends nothing yet, and SandboxLost.
        """
        either: list[asyncio.Future[Any]] = [answer, self._broke]
        timeout = left = ANSWER if timeout is None else timeout
        for pause, lines in floods if again else ():
            if left < pause or (await asyncio.wait(either, timeout=pause, return_when=asyncio.FIRST_COMPLETED))[0]:
                break
            left -= pause
            greeting = self.frame("hello", self.token())  # for the case that somebody else's began an era
            # Twice, because what stands before the first may take it for more of itself.
            self._write(BLANK * lines + self.hello.encode() + b"\n" + (greeting + again) * 2)
        if not (await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED))[0]:
            raise SandboxSilent(f"the sandbox's main process did not answer in {timeout:g} s")
        return answer.done()

    # a stream that breaks

    def drop(self) -> None:
        """The stream broke, and another may come: until `rejoined` or `fail` nothing is sent and no time passes."""
        if self._lost is None and self._away is None:
            self._away = asyncio.get_running_loop().create_future()
            self.outages += 1
        if not self._broke.done():
            self._broke.set_result(None)
        if self._pending is not None:
            self._pending.wake()

    def rejoined(self) -> None:
        """Another stream carries on."""
        self.back = time.monotonic()
        away, self._away = self._away, None
        if away is not None:
            away.set_result(None)

    @property
    def is_away(self) -> bool:
        """Whether the stream broke and no other has come yet."""
        return self._away is not None

    async def steady(self) -> None:
        """Wait until there is a stream. Raises SandboxLost."""
        while self._away is not None:
            await asyncio.wait([self._away])
        if self._lost is not None:
            raise self._lost

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
        self.rejoined()  # whoever waits for that is told
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
