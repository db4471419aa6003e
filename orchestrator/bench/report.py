"""What a benchmark reports: one row for each figure, ours beside a peer's."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from envfarm.toolbox.errors import BadRequest

Better = Literal["lower", "higher"]


class Row(BaseModel):
    """One figure. `ratio` is how many times better ours is than the peer's: above 1 we are ahead."""

    name: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str | None = None
    ratio: float | None = None


def row(
    name: str, unit: str, ours: float, peer: float | None, peer_name: str | None, *, better: Better = "lower"
) -> Row:
    """A row with its ratio worked out; `better` says which way is good."""
    ratio = None
    if peer:
        ratio = peer / ours if better == "lower" else ours / peer
    return Row(
        name=name,
        unit=unit,
        ours=round(ours, 3),
        peer=None if peer is None else round(peer, 3),
        peer_name=peer_name,
        ratio=None if ratio is None else round(ratio, 2),
    )


def median(seconds: Sequence[float]) -> float:
    """The median of times in seconds, in milliseconds."""
    return statistics.median(seconds) * 1000


def percentile(seconds: Sequence[float], share: int) -> float:
    """The time that `share` percent of all do not exceed, by nearest rank, in milliseconds."""
    return sorted(seconds)[max(0, math.ceil(len(seconds) * share / 100) - 1)] * 1000


async def timed(work: Awaitable[object]) -> float:
    """The wall time of one call, in seconds."""
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin


async def time_each(call: Callable[[], Awaitable[object]], rounds: int) -> list[float]:
    """The wall time of each of `rounds` calls made one after another, in seconds."""
    return [await timed(call()) for _ in range(rounds)]


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table for docs/benchmarks.md."""
    lines = ["| what | unit | envfarm | peer | peer's name | times better |", "|---|---|---|---|---|---|"]
    for r in rows:
        peer = "" if r.peer is None else f"{r.peer:g}"
        ratio = "" if r.ratio is None else f"{r.ratio:g}"
        lines.append(f"| {r.name} | {r.unit} | {r.ours:g} | {peer} | {r.peer_name or ''} | {ratio} |")
    return "\n".join(lines)


_BEGIN, _END = "<!-- results: {name} -->\n", "<!-- end of results -->"


def replace_table(page: Path, rows: Sequence[Row], name: str = "all") -> None:
    """Put the rows where a page has a benchmark's last results. Raises BadRequest when it has no place for them."""
    place = _BEGIN.format(name=name)
    before, begin, rest = page.read_text().partition(place)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise BadRequest(f"{page}: has no lines `{place.strip()}` and `{_END}` for the results to stand between")
    page.write_text(f"{before}{begin}\n{markdown(rows)}\n\n{end}{after}")
