"""A judge stops asking when its budget is spent, and says so."""

from __future__ import annotations

import pytest

from envfarm.envs.judge.budget import Budget, BudgetSpent
from envfarm.toolbox.errors import FarmFault

from ...toolbox.chat_server import ChatServer, Says
from .conftest import FRAMES, LEAVES, RUBRIC, MakeJudge
from .pixels import vote


@pytest.mark.parametrize(
    ("budget", "said"),
    [(Budget(max_calls=3), "3 of 3 calls are spent"), (Budget(max_tokens=200), "330 of 200 tokens are spent")],
    ids=["calls", "tokens"],
)
async def test_a_spent_budget_is_no_verdict(
    server: ChatServer, make_judge: MakeJudge, budget: Budget, said: str
) -> None:
    server.script = [Says(vote(LEAVES))]
    judge = make_judge(budget=budget)
    assert (await judge.judge(RUBRIC, request="one", frames=FRAMES)).score == 1.0
    with pytest.raises(BudgetSpent, match=f"judge budget: {said}") as caught:
        await judge.judge(RUBRIC, request="two", frames=FRAMES)
    assert isinstance(caught.value, FarmFault)
    assert len(server.asked) == 3
