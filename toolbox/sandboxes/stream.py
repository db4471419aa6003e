"""What a held stream carries: a command's output between markers, cut in the middle when it is too long."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from envfarm.toolbox.sandboxes.base import Output

log = logging.getLogger(__name__)

PREFIX = b"\x1eef:"
TOKEN = 24  # hex digits
SPOOL_LIMIT = 64 << 20
"""Bytes of one stream that a spool file keeps at most."""

_LONGEST = 64 << 10  # a marker with a list of process ids
# A sandbox can print prefixes by the million: only what looks like a token, or ends before one can be told, is read.
_MARK = re.compile(re.escape(PREFIX) + rb"([0-9a-f]{%d}|[0-9a-f]{0,%d}\Z)" % (TOKEN, TOKEN - 1))
_SLACK = 1 << 20
_TAIL = 1 << 10
_WRITE = 256 << 10  # bytes that go into a spool file at once

Handler = Callable[[int, bytes, bytes], None]
"""Called with the stream (1 or 2), the marker's kind and its arguments."""


class Capture:
    """The head and the tail of one stream in bounded memory; on demand the whole of it on disk, if there is room."""

    def __init__(self, limit: int | None, *, spool: bool = False) -> None:
        self.total = 0
        self._gap: int | None = None
        self._head = bytearray()
        self._tail = bytearray()
        self._limit = limit
        self._room = limit if limit is None else limit // 2
        self._wants_spool = spool
        self._spool: Path | None = None
        self._fd = -1
        self._spooled = 0
        self._unwritten = bytearray()  # of the spool: each write stops the whole server for a moment

    def add(self, data: bytes | memoryview) -> None:
        self.total += len(data)
        if self._room is None or self._limit is None:
            self._head += data
            return
        if len(self._head) + len(self._tail) + len(data) > self._limit and self._fd < 0 and self._wants_spool:
            self._open()
        if self._fd >= 0:
            self._to_spool(data)
        free = self._room - len(self._head)
        if free > 0:
            self._head += data[:free]
            data = data[free:]
        self._tail += data[-self._limit :] if self._limit else b""
        if len(self._tail) > self._limit + _SLACK:
            del self._tail[: len(self._tail) - self._limit]

    def gap(self) -> None:
        """From here on bytes are missing, nobody knows how many."""
        self._gap = self.total if self._gap is None else self._gap

    def anew(self) -> Capture:
        """An empty one in its place."""
        self.discard()
        return Capture(self._limit, spool=self._wants_spool)

    @property
    def over(self) -> bool:
        """Whether more came than is kept."""
        return self._limit is not None and self.total > self._limit

    def output(self) -> Output:
        """What was kept; closes the spool."""
        self._write()
        self._close()
        if self._limit is None or self.total <= self._limit:
            return Output(bytes(self._head + self._tail), self.total, self._gap, None)
        keep = self._limit - len(self._head)
        tail = self._tail[-keep:] if keep else b""
        return Output(bytes(self._head + tail), self.total, len(self._head), self._spool)

    def discard(self) -> None:
        """Forget everything, the spool file too."""
        self._close()
        if self._spool is not None:
            self._spool.unlink(missing_ok=True)
            self._spool = None

    def _open(self) -> None:
        try:
            self._fd, name = tempfile.mkstemp(prefix="envfarm-output-")
        except OSError as error:
            self._give_up(error)
            return
        self._spool = Path(name)
        self._to_spool(self._head + self._tail)

    def _to_spool(self, data: bytes | bytearray | memoryview) -> None:
        data = data[: SPOOL_LIMIT - self._spooled]
        self._spooled += len(data)
        self._unwritten += data
        if len(self._unwritten) >= _WRITE:
            self._write()

    def _write(self) -> None:
        try:
            with memoryview(self._unwritten) as view:
                done = 0
                while done < len(view):
                    done += os.write(self._fd, view[done:])
        except OSError as error:
            self._give_up(error)
        self._unwritten.clear()

    def _give_up(self, error: OSError) -> None:
        """Go on without the spool: the command did run, and its result must not be lost with the rest of its output."""
        log.error("a command's output is not kept whole: %s", error)
        self.discard()
        self._wants_spool = False

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._unwritten.clear()


class Reader:
    """Splits the two streams into output and markers, in whatever pieces they arrive."""

    def __init__(self) -> None:
        self.handlers: dict[bytes, Handler] = {}
        self.authentic: Callable[[bytes], bool] = lambda token: False  # whose markers are dropped when nobody waits
        self.sinks: dict[int, Capture | None] = {1: None, 2: None}
        self._held = {1: b"", 2: b""}
        self._total = {1: 0, 2: 0}
        self._pairs = {1: 0, 2: 0}  # of CR and LF
        self._tail = {1: b"", 2: b""}  # the last bytes
        self._cr = {1: False, 2: False}  # the last byte was a CR
        self._anchors = {1: (b"", 0, 0), 2: (b"", 0, 0)}  # the last marker's line, bytes and pairs up to its end

    def restart(self, stream: int) -> None:
        """Begin anew with a stream, before its first byte."""
        self._held[stream], self._total[stream], self._pairs[stream] = b"", 0, 0
        self._tail[stream], self._cr[stream], self._anchors[stream] = b"", False, (b"", 0, 0)
        self.sinks[stream] = None

    def beyond(self, stream: int, logged: bytes, *, drops_cr: bool) -> bytes | None:
        """What a log holds of a stream beyond the bytes that came; None when it no longer shows where they end.

        `drops_cr` says that it holds LF for each CRLF.
        """
        line, at, pairs = self._anchors[stream]
        since = self._total[stream] - at
        if drops_cr:
            line = line.replace(b"\r\n", b"\n")
            since -= self._pairs[stream] - pairs
        start = logged.find(line) if line else -1
        if start >= 0:
            return logged[start + len(line) + since :]
        tail = self._tail[stream].replace(b"\r\n", b"\n") if drops_cr else self._tail[stream]
        start = logged.find(tail)
        if start < 0 or len(tail) < _TAIL // 2 or logged.find(tail, start + 1) >= 0:  # `yes` ends everywhere alike
            return None
        return logged[start + len(tail) :]

    def feed(self, stream: int, data: bytes) -> None:
        """Take the next bytes of a stream."""
        self._count(stream, data)
        held = self._held[stream]
        if held:
            data = held + data
            self._held[stream] = b""
        start = search = line = 0  # what is not handed over yet, where to look on, the last line's end that was found
        while data.find(PREFIX, search) >= 0 and (mark := _MARK.search(data, search)) is not None:
            at, search = mark.span()
            whole = len(mark[1]) == TOKEN
            if whole and not self._known(mark[1]):
                continue
            if 0 <= line < search:
                line = data.find(b"\n", search)
            end = line if line < at + _LONGEST else -1
            if end >= 0:
                self._put(stream, data[start:at])
                token, kind, rest = self._parts(data[at + len(PREFIX) : end])
                start = search = end + 1
                self._anchor(stream, data[at:start], data[start:])
                if (handler := self.handlers.get(token)) is not None:
                    handler(stream, kind, rest)
            elif len(data) - at < _LONGEST:
                self._put(stream, data[start:at])
                self._held[stream] = data[at:]
                return
        keep = _partial(data, start)
        self._put(stream, data[start : len(data) - keep])
        if keep:
            self._held[stream] = data[len(data) - keep :]

    def _count(self, stream: int, data: bytes) -> None:
        self._total[stream] += len(data)
        self._pairs[stream] += data.count(b"\r\n") + (self._cr[stream] and data[:1] == b"\n")
        self._cr[stream] = data[-1:] == b"\r"
        self._tail[stream] = data[-_TAIL:] if len(data) >= _TAIL else (self._tail[stream] + data)[-_TAIL:]

    def _anchor(self, stream: int, line: bytes, after: bytes) -> None:
        if line != self._anchors[stream][0]:  # of what is said twice a log shows the first one first
            pairs = self._pairs[stream] - after.count(b"\r\n")
            self._anchors[stream] = line, self._total[stream] - len(after), pairs

    def flush(self, stream: int) -> None:
        """Give out what was held back as the possible beginning of a marker."""
        held, self._held[stream] = self._held[stream], b""
        self._put(stream, held)

    def _known(self, token: bytes) -> bool:
        return token in self.handlers or self.authentic(token)

    @staticmethod
    def _parts(marker: bytes) -> tuple[bytes, bytes, bytes]:
        token, _, rest = marker.partition(b":")
        kind, _, arguments = rest.partition(b":")
        return token, kind, arguments

    def _put(self, stream: int, data: bytes) -> None:
        sink = self.sinks[stream]
        if sink is not None and data:
            sink.add(data)


def _partial(data: bytes, start: int) -> int:
    """How many of the last bytes could be the beginning of a marker."""
    for size in range(min(len(PREFIX) - 1, len(data) - start), 0, -1):
        if data.endswith(PREFIX[:size]):
            return size
    return 0
