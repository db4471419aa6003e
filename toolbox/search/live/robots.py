"""What a host's robots.txt lets us read (RFC 9309)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from yarl import URL

from envfarm.toolbox.search.live.record import Outcome

_LONGEST_DELAY = 60.0


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules of one host for one agent; `parsed` is None where all, or nothing, is allowed."""

    parsed: Any = None
    agent: str = ""
    everything: bool = True
    delay: float = 0.0  # seconds between two pages

    def allows(self, url: URL) -> bool:
        """Whether a page may be read."""
        return self.everything if self.parsed is None else bool(self.parsed.can_fetch(str(url), self.agent))


EVERYBODY = Robots()
NOBODY = Robots(everything=False)


def read_robots(answer: Outcome, agent: str) -> Robots:
    """The rules in an answer: none where there is no file, and nothing is allowed where the host fails."""
    from protego import Protego  # the standard library's parser knows no wildcards, which most files use

    status = answer.status or 500
    if status == 429 or status >= 500:  # unreachable, RFC 9309, 2.3.1.4
        return NOBODY
    if status != 200:  # unavailable, RFC 9309, 2.3.1.3
        return EVERYBODY
    parsed = Protego.parse(answer.body.decode("utf-8-sig", "replace"))
    return Robots(parsed, agent, delay=min(parsed.crawl_delay(agent) or 0.0, _LONGEST_DELAY))
