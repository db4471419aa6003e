"""What an episode earned: a number, or no number. The second cannot be taken for a 0, nor averaged."""

from __future__ import annotations

from typing import Literal, NoReturn

from pydantic import Field

from envfarm.trainers.views import View


class NullReward(Exception):
    """An episode has no reward: leave it out of the batch, or mask it. `reward` says why."""

    def __init__(self, reward: Reward) -> None:
        super().__init__(
            f"episode {reward.episode} of {reward.task} has no reward ({reward.status}: {reward.reason}); "
            "test `reward.scored`, or use `reward.or_none()`"
        )
        self.reward = reward


class Reward(View):
    """An episode's reward. `parts` are named numbers, `evidence` is name to digest, `scored_at` in seconds since 1970.

    `status` is `done`, else there is no number: `error` (the farm failed), `invalid` (cancelled, expired, aborted).
    """

    episode: str
    task: str
    run: str
    status: Literal["done", "error", "invalid"]
    number: float | None = Field(None, alias="value")
    parts: dict[str, float] = Field({})
    evidence: dict[str, str] = Field({})
    reason: str | None = None
    group_id: str | None = None
    rollout_index: int | None = None
    policy_version: str | None = None
    truncated: bool = False
    scored_at: float | None = None

    @property
    def scored(self) -> bool:
        """Whether there is a number."""
        return self.status == "done" and self.number is not None

    @property
    def value(self) -> float:
        """The number. Raises NullReward."""
        if self.status != "done" or self.number is None:
            raise NullReward(self)
        return self.number

    def or_none(self) -> float | None:
        """The number, None where there is none."""
        return self.value if self.scored else None

    def __float__(self) -> float:
        return self.value

    def __bool__(self) -> NoReturn:
        raise TypeError("a Reward is neither true nor false: test `reward.scored`, or compare `reward.value`")
