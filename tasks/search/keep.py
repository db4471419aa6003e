"""Keeps the questions that a policy neither always nor never answers: a group with one reward teaches it nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envfarm.tasks.search.write import LIST, new_folder, write_list
from envfarm.toolbox.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a question was answered."""

    passed: int
    attempts: int  # those with a reward

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.passed / self.attempts


@dataclass(frozen=True, slots=True)
class Band:
    """Pass rates from `low` to `high`, both of them among it."""

    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> Band:
        """As in `0.1..0.9`. Raises BadRequest."""
        first, dots, last = text.partition("..")
        try:
            band = cls(float(first), float(last))
        except ValueError:
            band = cls(1.0, 0.0)
        if not dots or not 0 <= band.low <= band.high <= 1:
            raise BadRequest(f"band: {text!r}: write two pass rates from 0 to 1, such as 0.1..0.9")
        return band

    def __contains__(self, rate: Rate) -> bool:
        return rate.attempts > 0 and self.low <= rate.share <= self.high


def keep(folder: Path, rates: Mapping[str, Rate], band: Band, out: Path) -> list[Path]:
    """Copy the questions within a band to a new folder, with `pass_rate` and `attempts` in its list.

    Whole or not at all. Raises BadRequest (no list of questions, nothing is left), StorageError.
    """
    rows = [row for row in listed(folder) if rates.get(row["task"], Rate(0, 0)) in band]
    if not rows:
        raise BadRequest(f"band: no question has a pass rate from {band.low:g} to {band.high:g}; widen it")
    with new_folder(out) as work:
        for row in rows:
            rate = rates[row["task"]]
            row |= {"pass_rate": round(rate.share, 4), "attempts": rate.attempts}
            shutil.copytree(folder / row["task"], work / row["task"])
        write_list(work, rows)
    return [out / row["task"] for row in rows]


def listed(folder: Path) -> list[dict[str, Any]]:
    """The lines of a folder's list of questions. Raises BadRequest."""
    file = folder / LIST
    try:
        return [json.loads(line) for line in file.read_text().splitlines()]
    except OSError as error:
        raise BadRequest(f"{file}: cannot be read ({error.strerror}); name a folder that `questions` made") from None
    except ValueError:
        raise BadRequest(f"{file}: not JSON lines; name a folder that `questions` made") from None
