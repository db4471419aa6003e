"""Whether an answer means what was expected, by the judge: asked where comparing words and values found another one."""

from __future__ import annotations

import json
from collections.abc import Sequence

from envfarm.envs.judge.judge import Judge
from envfarm.envs.judge.verdict import Verdict
from envfarm.tasks.rubric import Leaf, Rubric


def same_as(expected: Sequence[str]) -> Rubric:
    """What the judge is asked of an answer. Expected are names of one and the same thing."""
    names = " or ".join(json.dumps(one, ensure_ascii=False) for one in expected)
    return Rubric(
        leaves=(
            Leaf(
                id="same",
                group="answer",
                statement=f"The work, as an answer to the request, names the same thing as {names}: the same entity, "
                "number or date in other words, and not something close to it, more general or more special.",
            ),
            Leaf(
                id="one",
                group="answer",
                statement="The work commits to one answer: it lists no other candidates, is not hedged with "
                "alternatives, and does not merely repeat the request.",
            ),
        )
    )


async def means(judge: Judge, *, question: str, answer: str, expected: Sequence[str]) -> Verdict:
    """The verdict on an answer; it is right where the score is 1. The judge sees these three and nothing else.

    Raises FarmFault where there is no verdict.
    """
    return await judge.judge(same_as(expected), request=question, text=answer)
