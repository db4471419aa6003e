"""Both streams in one, as a Kubernetes log has them: told apart by the farm's markers alone."""

from __future__ import annotations

import re

from envfarm.toolbox.sandboxes.stream import PREFIX, TOKEN

_LINE = re.compile(re.escape(PREFIX) + rb"[0-9a-f]{%d}:[^\n]*\n" % TOKEN)


def split(merged: bytes) -> dict[int, bytes]:
    """The two streams, as far as they can be told apart.

    Each marker stands once for each stream: the first one goes to stream 1, the second to stream 2, and so on in turn.
    Everything else goes to stream 1, in its order, for nothing says where it came from.
    """
    out, err, odd, start = bytearray(), bytearray(), set[bytes](), 0
    for mark in _LINE.finditer(merged):
        out += merged[start : mark.start()]
        start = mark.end()
        line = mark[0]
        if line in odd:
            odd.remove(line)
            err += line
        else:
            odd.add(line)
            out += line
    out += merged[start:]
    return {1: bytes(out), 2: bytes(err)}
