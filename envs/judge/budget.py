"""What a judge may cost: calls and tokens, from the start of the server on."""

from __future__ import annotations

from dataclasses import dataclass

from envfarm.toolbox.chat import Usage
from envfarm.toolbox.endpoint import ModelError


class BudgetSpent(ModelError):
    """The judge may not be asked any more; what it should have judged has no reward."""

    retryable = False


@dataclass(slots=True)
class Budget:
    """Counts what was used; None is no limit."""

    max_calls: int | None = None
    max_tokens: int | None = None
    calls: int = 0
    tokens: int = 0

    def begin(self) -> None:
        """Count a call that is about to be made. Raises BudgetSpent."""
        for name, used, most in (("calls", self.calls, self.max_calls), ("tokens", self.tokens, self.max_tokens)):
            if most is not None and used >= most:
                raise BudgetSpent(
                    f"judge budget: {used} of {most} {name} are spent; raise judge.max_{name} and restart"
                )
        self.calls += 1

    def add(self, usage: Usage) -> None:
        """Count what a call used."""
        self.tokens += usage.total
