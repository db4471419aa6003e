"""Blame: whose fault it is that an agent's sandbox does not answer. What cannot be proved is the farm's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from envfarm.envs.base import Reward
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.episodes import Episode
from envfarm.toolbox.errors import SandboxError, SandboxLost, SandboxSilent
from envfarm.toolbox.sandboxes.base import Sandbox

log = logging.getLogger(__name__)

FELL_SILENT = "sandbox"
"""The `reason` of an episode that was cut because its sandbox did not answer."""

Collect = Callable[[Sandbox | None], Awaitable[dict[str, str]]]
"""Saves what scoring needs from a sandbox."""


class Blame:
    """Asks the agent's sandbox once more, then an untouched one that must do the same."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._one = asyncio.Lock()  # the untouched one may need a second sandbox: two such could wait for each other

    async def collect(self, episode: Episode, collect: Collect) -> dict[str, str] | Reward:
        """What was saved, or the reward of an agent that broke its sandbox so that nothing can be.

        Raises SandboxError for a fault of the farm.
        """
        try:
            saved = await collect(episode.sandbox)
        except SandboxSilent as error:
            log.warning("%s: %s", episode.id, error)
            again = await self._again(episode, collect)
            if again is None:
                return await self._untouched(episode, collect, error)
            saved = again
        if episode.reason == FELL_SILENT:
            raise SandboxLost("it did not answer in a step, and then it did: the farm was too slow", cause="stream")
        return saved

    async def attach(self, episode: Episode) -> bool:
        """Take hold of an episode's silent sandbox over a new stream; whether it answers there. Raises SandboxError."""
        assert episode.sandbox is not None
        await episode.sandbox.detach()
        episode.sandbox = await self.core.backend.attach(episode.sandbox.id)
        try:
            await episode.sandbox.processes()
        except SandboxSilent as error:
            log.warning("%s: attached again: %s", episode.id, error)
            return False
        return True

    async def _again(self, episode: Episode, collect: Collect) -> dict[str, str] | None:
        """What a second try saved, over a new stream; None when the sandbox stays silent."""
        if not await self.attach(episode):
            return None
        try:
            return await collect(episode.sandbox)
        except SandboxSilent:
            return None

    async def _untouched(self, episode: Episode, collect: Collect, error: SandboxSilent) -> Reward:
        play = episode.play
        spec = await play.env.spec(play.task, self.core.images)
        assert spec is not None  # else there was none to fall silent
        async with self._one, self.core.toolbox.fresh(spec) as sandbox:
            try:
                await play.env.start(play.task, sandbox)
                await collect(sandbox)
            except SandboxError as fault:
                raise SandboxLost(f"{error}; an untouched one: {fault}", cause="stream") from None
        return Reward(value=0.0, reason=f"the agent broke its sandbox, which an untouched one does not do: {error}")
