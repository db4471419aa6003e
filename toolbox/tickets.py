"""Who gets the next sandbox: a queue with priorities, fair between runs, that keeps group-mates together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec


@dataclass(slots=True, eq=False)
class Ticket:
    """Somebody who waits for a sandbox."""

    spec: SandboxSpec
    lease: str
    run: str
    group: str  # tickets of one group are served one after the other
    priority: int
    scoring: bool
    future: asyncio.Future[Sandbox]


_Groups = dict[str, dict[Ticket, None]]  # in the order they came: a dict keeps order and removes in O(1)


class TicketQueue:
    """Higher priority first; among equals the run with the fewest sandboxes, then the one served longest ago.

    Within a run, first come, first served. A group that has begun is finished before another of its priority begins.
    """

    def __init__(self, live: Callable[[str], int], full: Callable[[str], bool]) -> None:
        self._live = live  # sandboxes that a run has
        self._full = full  # whether a run may have no more
        self._levels: dict[int, dict[str, _Groups]] = {}  # by priority, then run
        self._served: tuple[int, str, str] | None = None  # priority, run and group served last
        self._clock = count(1)
        self._turns: dict[str, int] = {}  # by run, when it was served last
        self._of: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._of.total()

    def __iter__(self) -> Iterator[Ticket]:
        for runs in self._levels.values():
            for groups in runs.values():
                for tickets in groups.values():
                    yield from tickets

    def __contains__(self, ticket: Ticket) -> bool:
        groups = self._levels.get(ticket.priority, {}).get(ticket.run, {})
        return ticket in groups.get(ticket.group, {})

    def of(self, run: str) -> int:
        """How many of a run wait."""
        return self._of[run]

    def push(self, ticket: Ticket, *, again: bool = False) -> None:
        """Add a ticket; one that was served in vain comes `again`, before all others of its run."""
        runs = self._levels.setdefault(ticket.priority, {})
        groups = runs.setdefault(ticket.run, {})
        if again:
            mates = groups.pop(ticket.group, {})
            runs[ticket.run] = {ticket.group: {ticket: None, **mates}, **groups}
        else:
            groups.setdefault(ticket.group, {})[ticket] = None
        self._of[ticket.run] += 1

    def move(self, run: str, priority: int) -> None:
        """Give all who wait in a run another priority; their order among each other stays."""
        for ticket in [ticket for ticket in self if ticket.run == run]:
            self.discard(ticket)
            ticket.priority = priority
            self.push(ticket)

    def next(self) -> Ticket | None:
        """Whose turn it is; it stays in the queue. None when nobody waits whose run may have more."""
        for priority in sorted(self._levels, reverse=True):
            runs = self._levels[priority]
            if self._served is not None and self._served[0] == priority:
                _, run, group = self._served
                mates = runs.get(run, {}).get(group)
                if mates and not self._full(run):
                    return next(iter(mates))
            willing = [run for run in runs if not self._full(run)]
            if willing:
                groups = runs[min(willing, key=lambda run: (self._live(run), self._turns.get(run, 0)))]
                return next(iter(next(iter(groups.values()))))
        return None

    def pop(self, ticket: Ticket) -> None:
        """Take out a ticket that is served now."""
        self.discard(ticket)
        self._served = (ticket.priority, ticket.run, ticket.group)
        self._turns[ticket.run] = next(self._clock)

    def discard(self, ticket: Ticket) -> None:
        """Take out a ticket that nobody wants any more; one that is not there is no error."""
        if ticket not in self:
            return
        runs = self._levels[ticket.priority]
        groups = runs[ticket.run]
        del groups[ticket.group][ticket]
        if not groups[ticket.group]:
            del groups[ticket.group]
        if not groups:
            del runs[ticket.run]
        if not runs:
            del self._levels[ticket.priority]
        self._of[ticket.run] -= 1
        if not self._of[ticket.run]:
            del self._of[ticket.run]
