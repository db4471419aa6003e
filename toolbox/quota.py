"""What a run may use: sandboxes at once, and calls of a tool per second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """A token bucket that hands out turns in advance: a caller learns at once how long it has to wait.

    It holds `burst` tokens and gets `rate` of them a second (the generic cell rate algorithm of ITU-T I.371).
    """

    rate: float
    burst: float
    _empty_at: float = float("-inf")  # when the turns handed out so far are used up

    def wait(self, now: float) -> float:
        """Seconds that a caller of this moment would have to wait."""
        return max(0.0, self._empty_at - (self.burst - 1) / self.rate - now)

    def take(self, now: float) -> float:
        """Take a turn; returns the seconds until it comes."""
        seconds = self.wait(now)
        self._empty_at = max(self._empty_at, now) + 1 / self.rate
        return seconds


@dataclass(frozen=True, slots=True)
class SourceQuota:
    """What one source of a run's tasks may use."""

    max_concurrent: int | None = None
    priority: int | None = None  # None: the run's


@dataclass(slots=True)
class RunQuota:
    """The quotas of one run, or of one source in it (then `whole` is the run's), and what it has now."""

    max_concurrent: int | None = None
    priority: int = 0
    buckets: dict[str, Bucket] = field(default_factory=dict)
    live: int = 0  # sandboxes handed out or being started
    sources: dict[str, SourceQuota] = field(default_factory=dict)
    whole: RunQuota | None = None

    @property
    def left(self) -> float:
        """How many more sandboxes it may have; infinite where nothing bounds them."""
        own = math.inf if self.max_concurrent is None else max(0, self.max_concurrent - self.live)
        return own if self.whole is None else min(own, self.whole.left)

    @property
    def full(self) -> bool:
        """Whether it has all the sandboxes that it may have."""
        return self.left == 0

    def count(self, change: int) -> None:
        """Note that it has so many sandboxes more."""
        self.live += change
        if self.whole is not None:
            self.whole.count(change)

    def set_qps(self, qps: Mapping[str, float]) -> None:
        """Calls per second by tool name; a rate that stays keeps its bucket. One second's worth may come at once."""
        for tool in set(self.buckets) - set(qps):
            del self.buckets[tool]
        for tool, rate in qps.items():
            bucket = self.buckets.get(tool)
            if bucket is None or bucket.rate != rate:
                self.buckets[tool] = Bucket(rate, max(1.0, rate))
