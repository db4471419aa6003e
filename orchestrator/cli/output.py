"""What commands print: tables and JSON on stdout, everything for people on stderr."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WIDE = 160  # columns of what is not a terminal, so that nothing is cut in a log

console = Console(stderr=True, width=None if sys.stderr.isatty() else _WIDE, highlight=False)
"""For progress and notes; stdout stays clean for what a script reads."""


@contextmanager
def says_when_stopped() -> Iterator[None]:
    """Say so when Ctrl-C ends the work in the block: ending what it started may take a moment."""
    try:
        yield
    except asyncio.CancelledError:
        console.print("stopping: ending what was started")
        raise


def emit_json(value: Any) -> None:
    """Print one JSON value."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool = False, title: str = "") -> None:
    """Print rows as a table of the columns named, or as a JSON list of whole rows."""
    if as_json:
        emit_json([dict(row) for row in rows])
        return
    drawn = Table(*columns, title=title or None, box=None, pad_edge=False, header_style="bold", title_justify="left")
    for row in rows:
        drawn.add_row(*(escape(_cell(row.get(column))) for column in columns))
    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(drawn)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1000 else f"{value:.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items()) or "-"
    return str(value)
