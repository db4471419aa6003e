"""Python's own parser, where several threads want it."""

from __future__ import annotations

import ast
import threading

_TRIES = 20
_lock = threading.Lock()


def parse(source: str | bytes) -> ast.Module:
    """A module's syntax tree. Raises SyntaxError, ValueError.

    CPython 3.11 counts the depth of all trees that are being made together, whatever their threads, and raises
    SystemError where two meet (github.com/python/cpython/issues/106905). We wait for each other; others who parse at
    the same time, `inspect.signature` among them, cost another try.
    """
    with _lock:
        for _ in range(_TRIES):
            try:
                return ast.parse(source)
            except SystemError:
                continue
        return ast.parse(source)
