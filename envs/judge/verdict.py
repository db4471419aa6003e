"""What a judge found: an answer for each leaf, with its votes and the frames it cites, and a score, 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict

from envfarm.tasks.rubric import Leaf, Rubric


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LeafVote(_Part):
    """One vote on one leaf."""

    answer: bool
    frames: tuple[int, ...] = ()
    why: str = ""


class Injection(_Part):
    """Words of the work that are meant for its judge."""

    words: str
    where: str  # `text`, or `frame N`
    found_by: Literal["scan", "judge"]

    def of(self, work: str) -> str:
        """The reason of a reward that it cost something; `work` is what was judged, `the page`."""
        return f"{work} talks to its judge: {self.words[:200]!r}"


class Vote(_Part):
    """One complete answer of the model."""

    answers: dict[str, LeafVote]
    injection: Injection | None = None


class LeafVerdict(_Part):
    """The median of the votes on one leaf: 0, 1, or 0.5 where an even number is split."""

    id: str
    group: str
    weight: float
    answer: float
    votes: tuple[LeafVote, ...]

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames that the votes cite, in order."""
        return tuple(sorted({frame for vote in self.votes for frame in vote.frames}))


class Verdict(_Part):
    """The whole opinion, kept as evidence; with `injected` the score is 0, whatever the votes were."""

    score: float
    groups: dict[str, float]
    leaves: tuple[LeafVerdict, ...] = ()
    injected: Injection | None = None
    model: str
    prompt: str  # version of the prompt
    calls: int = 0
    tokens: int = 0
    cached: bool = False


def count(rubric: Rubric, votes: Sequence[Vote], *, model: str, prompt: str, calls: int, tokens: int) -> Verdict:
    """The verdict of some valid votes, at least one."""
    reports = [vote.injection for vote in votes if vote.injection is not None]
    leaves = tuple(_leaf(leaf, votes) for leaf in rubric.leaves)
    names = dict.fromkeys(leaf.group for leaf in leaves)
    verdict = Verdict(
        score=_mean(leaves),
        groups={name: _mean([leaf for leaf in leaves if leaf.group == name]) for name in names},
        leaves=leaves,
        model=model,
        prompt=prompt,
        calls=calls,
        tokens=tokens,
    )
    # One vote of several that sees a message to the judge is more likely wrong than right.
    return punished(verdict, reports[0]) if 2 * len(reports) > len(votes) else verdict


def punished(verdict: Verdict, injection: Injection) -> Verdict:
    """The same verdict of work that talks to its judge: 0 in every group, the votes kept."""
    return verdict.model_copy(
        update={"score": 0.0, "groups": dict.fromkeys(verdict.groups, 0.0), "injected": injection}
    )


def _leaf(leaf: Leaf, votes: Sequence[Vote]) -> LeafVerdict:
    cast = tuple(vote.answers[leaf.id] for vote in votes)
    answer = float(median(int(vote.answer) for vote in cast))
    return LeafVerdict(id=leaf.id, group=leaf.group, weight=leaf.weight, answer=answer, votes=cast)


def _mean(leaves: Sequence[LeafVerdict]) -> float:
    return sum(leaf.answer * leaf.weight for leaf in leaves) / sum(leaf.weight for leaf in leaves)
