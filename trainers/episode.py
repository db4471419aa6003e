"""One attempt at a task, as a trainer holds it: its steps, its end, its reward.

EpisodeFailed   the farm could not start it; its reward is null
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from envfarm.trainers.calls import Client
from envfarm.trainers.reward import Reward
from envfarm.trainers.transport import Gone, Json, NotFound
from envfarm.trainers.views import EpisodeView, Message, Result, Step

_LONG_POLL = 30.0  # seconds
_WAITING = frozenset({"queued", "starting"})
_LOST = frozenset({"failed", "expired", "cancelled"})


class EpisodeFailed(Exception):
    """An episode ended without having begun: never a mistake of the model."""


class Episode:
    """An episode, made by `Farm`, which renews its lease until `close`.

    Every call may be repeated after an error: a step that was sent is not run twice.
    """

    def __init__(self, client: Client, view: EpisodeView, closed: Callable[[Episode], None]) -> None:
        self.view = view
        self.turn = view.turn
        self.ended = False  # whether its scoring began, or it was given up
        self._client = client
        self._closed = closed
        self._stepping = asyncio.Lock()
        self._forking: dict[int, str] = {}  # keys of forks that are not known to have worked, by how many

    @property
    def id(self) -> str:
        """The farm's name for it."""
        return self.view.id

    @property
    def task(self) -> str:
        """The task's id."""
        return self.view.task

    @property
    def messages(self) -> tuple[Message, ...]:
        """The chat that it starts with; there at once, before the sandbox is."""
        return self.view.messages

    @property
    def tools(self) -> list[dict[str, Any]]:
        """What the model may call, in OpenAI's function format."""
        return list(self.view.tools)

    async def ready(self) -> None:
        """Wait for its sandbox. Not needed before a step, which waits itself. Raises EpisodeFailed, ClientError."""
        while (now := await self._client.episode(self.id, wait=_LONG_POLL))["state"] in _WAITING:
            pass
        self.view = EpisodeView.model_validate(now)
        if self.view.state in _LOST:
            raise EpisodeFailed(f"episode {self.id} of {self.task} {self.view.state}: {self.view.reason}")

    async def step(
        self, *calls: Mapping[str, Any], timeout: float | None = None, policy_version: str | None = None
    ) -> Step:
        """Run the tool calls of one turn: `{"name", "arguments", "id"?}` each; `timeout` is seconds for each call.

        After a lost connection send the same calls again: they run once. Raises ClientError, Conflict for other calls.
        """
        async with self._stepping:
            answer = await self._client.step(
                self.id,
                calls,
                step_id=f"turn-{self.turn}",  # from the turn, so that a caller who tries again names the same step
                turn=self.turn,
                timeout_s=timeout,
                policy_version=policy_version,
            )
            step = Step.model_validate(answer)
            self.turn = step.turn + 1
            self.ended = self.ended or step.done
        return step

    async def call(self, name: str, /, **arguments: Any) -> Result:
        """One turn with one tool call. Raises ClientError."""
        return (await self.step({"name": name, "arguments": arguments})).results[0]

    async def finish(self, reason: str = "model", answer: str | None = None) -> None:
        """End it and start its scoring; `length` and `context` say that it was cut, `abort` gives it up unscored."""
        await self._client.finish(self.id, reason=reason, answer=answer)
        self.ended = True

    async def reward(self) -> Reward:
        """Its reward, once it is there; finishes the episode where nobody has. A fault of the farm is a null reward."""
        if not self.ended:
            try:
                await self.finish()
            except Gone:  # it failed or expired; the reward says how
                self.ended = True
        return Reward.model_validate(await self._client.wait_reward(self.id))

    async def fork(self, n: int = 1, *, adopt: Callable[[Json], Episode]) -> list[Episode]:
        """New episodes that go on from here, each in a copy of the sandbox. Use `Farm.fork`, which gives `adopt`."""
        key = self._forking.setdefault(n, uuid.uuid4().hex)
        made = [adopt(one) for one in await self._client.fork(self.id, key=key, n=n)]
        del self._forking[n]
        return made

    async def suspend(self, ttl: float | None = None) -> None:
        """Let it rest with its sandbox for `ttl` seconds at most; no steps until `resume`. Raises Gone, ClientError."""
        self.view = EpisodeView.model_validate(await self._client.suspend(self.id, ttl_s=ttl))

    async def resume(self, policy_version: str | None = None) -> None:
        """Let it go on, under another policy version where one is given. Raises Gone, ClientError."""
        self.view = EpisodeView.model_validate(await self._client.resume(self.id, policy_version=policy_version))

    async def cancel(self) -> None:
        """End it at once, without a score."""
        await self._client.cancel(self.id)
        self.ended = True

    async def artifacts(self) -> dict[str, str]:
        """Name to digest of everything that it kept."""
        return await self._client.artifacts(self.id)

    async def close(self) -> None:
        """Let go of it: cancelled unless it was finished. Harmless twice. Raises ClientError."""
        self._closed(self)
        if not self.ended:
            with suppress(Gone, NotFound):
                await self.cancel()
