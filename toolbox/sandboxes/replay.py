"""Joining what the engine logged of a stream with the live stream, at a marker that stands in both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from envfarm.toolbox.errors import SandboxLost
from envfarm.toolbox.sandboxes import merged
from envfarm.toolbox.sandboxes.stream import PREFIX

History = Callable[[], Awaitable[dict[int, bytes]]]
"""Reads the engine's log of both streams (1 and 2); an engine without one gives empty bytes.

Where the log does not tell the streams apart, it is stream 1's, and there is no stream 2.
"""

_LAG, _PAUSE = 5.0, 0.1  # seconds that the log may lag behind the stream


class Replay:
    """Holds the live stream back until the past is read."""

    def __init__(self, token: bytes) -> None:
        self._needle = PREFIX + token + b":"
        self._live = {1: bytearray(), 2: bytearray()}
        self.past = {1: b"", 2: b""}
        self.merged = False
        self.drops_cr = False  # the log shows CRLF as LF
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def add(self, stream: int, data: bytes) -> None:
        """Take live bytes."""
        self._live[stream] += data
        ends = [_end(held, self._needle) for held in self._live.values()]
        if min(ends) >= 0 and not self.answer.done():
            start = self._live[1].find(self._needle) + len(self._needle)
            self.answer.set_result(bytes(self._live[1][start : ends[0]]).strip().partition(b":")[2])

    def fail(self, error: SandboxLost) -> None:
        """The stream is gone."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # nobody may be waiting any more

    async def read(self, history: History) -> None:
        """Have `past` hold both streams up to and with the marker, empty where the log does not have it."""
        deadline = time.monotonic() + _LAG
        late = False
        while not late:
            late = time.monotonic() > deadline
            logged = await history()
            self.merged = 2 not in logged
            if self.merged:
                logged = merged.split(logged[1])
            ends = {stream: _end(data, self._needle) for stream, data in logged.items()}
            self.drops_cr = ends[1] > 0 and not logged[1].endswith(b"\r\n", 0, ends[1])
            if not any(logged.values()) or min(ends.values()) >= 0:
                break
            await asyncio.sleep(_PAUSE)
        self.past = {stream: data[: max(ends[stream], 0)] for stream, data in logged.items()}

    def future(self, stream: int) -> bytes:
        """The live bytes after the marker."""
        held = self._live[stream]
        return bytes(held[_end(held, self._needle) :])


def _end(data: bytes | bytearray, needle: bytes) -> int:
    """Where the marker's line ends, -1 when it is not there or not whole."""
    start = data.find(needle)
    return -1 if start < 0 else data.find(b"\n", start) + 1 or -1
