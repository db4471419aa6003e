"""A farm as a trainer uses it: episodes that are kept alive while they are held, and closed on every path."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any

from envfarm.trainers.calls import Client
from envfarm.trainers.episode import Episode
from envfarm.trainers.reward import Reward
from envfarm.trainers.spawned import spawned
from envfarm.trainers.transport import ClientError, Json
from envfarm.trainers.views import Drawn, EpisodeView, Run, Task, TaskStats

log = logging.getLogger(__name__)

_CLOSERS = 64  # cancellations under way at once when many episodes are let go of


class Farm:
    """A farm at `url`, or at several that share a store: one that is away is followed by the next.

    Arguments are `Client`'s. `heartbeat` is how often leases are renewed in the background, in seconds, at most; short
    ones are renewed more often. Whatever it made and nobody finished is cancelled at the end of the block.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        token: str | None = None,
        run: str | None = None,
        timeout: float = 60.0,
        patience: float = 60.0,
        heartbeat: float = 60.0,
    ) -> None:
        self.client = Client(url, token=token, run=run, timeout=timeout, patience=patience)
        self._every = heartbeat
        self._held: dict[str, Episode] = {}
        self._beating: asyncio.Task[None] | None = None
        self._shorter = asyncio.Event()

    async def __aenter__(self) -> Farm:
        await self.client.__aenter__()
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.client.__aexit__, kind, error, trace)
            await self._let_go(self._held.values())
            if self._beating is not None:
                self._beating.cancel()
                await asyncio.wait([self._beating])

    # Episodes

    async def create(self, task: str | None = None, n: int = 1, **request: Any) -> list[Episode]:
        """Episodes of a task, not waited for: call it for the whole group when the prompts are drawn.

        Further fields are those of `POST /v1/episodes`: `dataset` with `index` or `seed`, `group_id`, `limits`, …
        `key` makes two calls one. Close each episode. Raises ClientError.
        """
        made = await self.client.create(task, n=n, **request)
        return [self.adopt(one) for one in made]

    @asynccontextmanager
    async def episode(self, task: str | None = None, **request: Any) -> AsyncIterator[Episode]:
        """One episode, closed at the end of the block: cancelled unless it was finished. Raises ClientError."""
        async with self.group(task, 1, **request) as [episode]:
            yield episode

    @asynccontextmanager
    async def group(self, task: str | None, n: int, **request: Any) -> AsyncIterator[list[Episode]]:
        """`n` episodes of one task, which get their sandboxes together; all closed at the end of the block."""
        key = request.pop("key", None) or uuid.uuid4().hex
        creating = asyncio.create_task(self.create(task, n, key=key, **request))
        try:
            episodes = await asyncio.shield(creating)
        except asyncio.CancelledError:  # the farm may have made them, and then they must be closed
            await self._undo(creating)
            raise
        try:
            yield episodes
        finally:
            await self._let_go(episodes)

    async def fork(self, episode: Episode, n: int = 1) -> list[Episode]:
        """New episodes that go on where a running one stands. Close each. Raises ClientError."""
        return await episode.fork(n, adopt=self.adopt)

    async def attach(self, id: str) -> Episode:
        """An episode that somebody made before, held by this farm from now on. Raises ClientError."""
        return self.adopt(await self.client.episode(id))

    def adopt(self, made: Json) -> Episode:
        """Hold an episode that the API told of."""
        view = EpisodeView.model_validate(made)
        episode = Episode(self.client, view, lambda closed: self._forget(closed.id))
        self._held[episode.id] = episode
        if view.lease_s is not None and view.lease_s / 3 < self._every:
            self._every = max(0.1, view.lease_s / 3)
            self._shorter.set()
        return episode

    async def as_completed(self, episodes: Iterable[Episode]) -> AsyncGenerator[tuple[Episode, Reward]]:
        """Episodes with their rewards, as they become ready; those that nobody finished are finished.

        Null rewards come like others: `reward.scored` tells. Raises ClientError.
        """

        async def one(episode: Episode) -> tuple[Episode, Reward]:
            return episode, await episode.reward()

        async with spawned(one(episode) for episode in episodes) as waiting:
            for done in asyncio.as_completed(waiting):
                yield await done

    # Runs and tasks

    async def put_run(self, run: str, /, **quotas: Any) -> Run:
        """Set the quotas of a run, fields as in `PUT /v1/runs/{run}`."""
        return Run.model_validate(await self.client.put_run(run, **quotas))

    async def tasks(self, /, **filters: str | None) -> list[Task]:
        """Tasks by id; filters are dataset, split and kind."""
        return [Task.model_validate(one) async for one in self.client.tasks(**filters)]

    async def task(self, id: str) -> Task:
        """A task with its instruction."""
        return Task.model_validate(await self.client.task(id))

    async def stats(self, /, **filters: str | None) -> list[TaskStats]:
        """How the episodes of each task went; filters are dataset and run."""
        return [TaskStats.model_validate(one) async for one in self.client.stats(**filters)]

    async def sample(self, n: int, /, **request: Any) -> list[Drawn]:
        """Tasks to train on next, by how often they were solved; fields as in `POST /v1/sample`."""
        return [Drawn.model_validate(one) for one in (await self.client.sample(n=n, **request))["items"]]

    async def artifact(self, digest: str) -> bytes:
        """An artefact's bytes."""
        return await self.client.artifact(digest)

    # What goes on behind

    def _forget(self, id: str) -> None:
        self._held.pop(id, None)

    async def _undo(self, creating: asyncio.Task[list[Episode]]) -> None:
        await asyncio.wait([creating])
        if not creating.cancelled() and creating.exception() is None:
            await self._let_go(creating.result())

    async def _let_go(self, episodes: Iterable[Episode]) -> None:
        """Close episodes, also while the caller is being cancelled; what cannot be told expires with its lease."""
        room = asyncio.Semaphore(_CLOSERS)

        async def close(episode: Episode) -> None:
            async with room:
                try:
                    await episode.close()
                except ClientError as error:
                    log.warning("episode %s is left to its lease: %s", episode.id, error)

        work = asyncio.gather(*(close(one) for one in list(episodes)))
        await asyncio.shield(work)

    async def _beat(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._shorter.wait(), self._every)
                self._shorter.clear()
                continue
            except TimeoutError:
                pass
            if not self._held:
                continue
            try:
                answer = await self.client.renew(ids=list(self._held))
            except ClientError as error:
                log.warning("no lease was renewed, and it is tried again: %s", error)
            else:
                for id in answer["gone"]:  # ended: nothing to renew, and nothing to cancel
                    self._gone(id)

    def _gone(self, id: str) -> None:
        if (episode := self._held.pop(id, None)) is not None:
            episode.ended = True
