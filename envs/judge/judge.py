"""The judge: a rubric and frames or a text in, a `Verdict` out, by several votes of a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from envfarm.envs.judge import prompt
from envfarm.envs.judge.budget import Budget
from envfarm.envs.judge.cache import Cache, key_of
from envfarm.envs.judge.injection import scan
from envfarm.envs.judge.prompt import Frame, Unusable
from envfarm.envs.judge.verdict import Verdict, Vote, count
from envfarm.tasks.rubric import Rubric
from envfarm.toolbox.chat import ChatModel
from envfarm.toolbox.endpoint import BadAnswer
from envfarm.toolbox.errors import StorageError

log = logging.getLogger(__name__)

_ASKS = 3  # questions for one vote, where the answers cannot be used
_MAX_TOKENS = 4096  # of one answer


class Judge(Protocol):
    """Gives an opinion on what an agent made. It never says whether it works at all."""

    async def judge(
        self, rubric: Rubric, *, request: str, frames: Sequence[Frame] = (), text: str | None = None
    ) -> Verdict:
        """The verdict on frames, or on a text where there are none; all text of a page beside its frames is scanned.

        Raises FarmFault where there is none: no endpoint, too few valid votes, no budget.
        """


class ModelJudge:
    """Asks a model for `votes` votes at temperature 0, each with its own seed."""

    def __init__(
        self, model: ChatModel, *, votes: int = 3, cache: Cache | None = None, budget: Budget | None = None
    ) -> None:
        self.model, self.votes, self.cache = model, votes, cache
        self.budget = budget or Budget()

    async def close(self) -> None:
        """Let go of the connections."""
        await self.model.close()

    async def judge(
        self, rubric: Rubric, *, request: str, frames: Sequence[Frame] = (), text: str | None = None
    ) -> Verdict:
        """As `Judge` has it. Raises ModelError."""
        if text is not None and (injection := scan(text)) is not None:
            groups = dict.fromkeys((leaf.group for leaf in rubric.leaves), 0.0)
            return Verdict(score=0.0, groups=groups, injected=injection, model=self.model.model, prompt=prompt.VERSION)
        key = key_of(rubric, request, frames, text, model=self.model.model, votes=self.votes)
        if self.cache is not None and (known := await asyncio.to_thread(self.cache.get, key)) is not None:
            return known
        verdict = await self._ask(rubric, request, frames, text)
        await self._keep(key, verdict)
        return verdict

    async def _keep(self, key: str, verdict: Verdict) -> None:
        if self.cache is None:
            return
        try:
            await asyncio.to_thread(self.cache.put, key, verdict)
        except StorageError as error:
            log.warning("a verdict is not cached: %s", error)  # and still a verdict

    async def _ask(self, rubric: Rubric, request: str, frames: Sequence[Frame], text: str | None) -> Verdict:
        used = Budget()
        ballots = [
            asyncio.create_task(self._vote(number, rubric, request, frames, text, used)) for number in range(self.votes)
        ]
        try:
            cast = await asyncio.gather(*ballots)
        finally:
            for ballot in ballots:
                ballot.cancel()
        valid = [vote for vote in cast if isinstance(vote, Vote)]
        if 2 * len(valid) <= self.votes:
            problem = next(vote for vote in cast if not isinstance(vote, Vote))
            raise BadAnswer(f"the judge gave {len(valid)} of {self.votes} votes that can be used: {problem}")
        return count(rubric, valid, model=self.model.model, prompt=prompt.VERSION, calls=used.calls, tokens=used.tokens)

    async def _vote(
        self,
        number: int,
        rubric: Rubric,
        request: str,
        frames: Sequence[Frame],
        text: str | None,
        used: Budget,
    ) -> Vote | str:
        """One vote, or what is wrong with the last answer."""
        question = prompt.messages(rubric, request, frames, text)
        asked, problem = question, ""
        for ask in range(_ASKS):
            self.budget.begin()
            used.begin()
            answer = await self.model.complete(
                asked,
                response_format=prompt.response_format(rubric),
                temperature=0,
                max_tokens=_MAX_TOKENS,
                seed=number * _ASKS + ask,
            )
            self.budget.add(answer.usage)
            used.add(answer.usage)
            try:
                return prompt.read(answer, rubric, frames, text)
            except Unusable as unusable:
                problem = str(unusable)
                asked = prompt.again(question, problem)
        return problem
