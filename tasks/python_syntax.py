"""Python's own parser, for one caller at a time."""

from __future__ import annotations

import ast
import threading

_lock = threading.Lock()


def parse(source: str | bytes) -> ast.Module:
    """A module's syntax tree. Raises SyntaxError, ValueError.

    CPython 3.11 counts the depth of all trees that are being made together, whatever their threads, and raises
    SystemError where two meet.
    """
    with _lock:
        return ast.parse(source)
