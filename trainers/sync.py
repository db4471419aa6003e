"""The client without `await`: every call runs on one event loop in a thread of its own, and waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from envfarm.trainers.episode import Episode
from envfarm.trainers.farm import Farm
from envfarm.trainers.reward import Reward
from envfarm.trainers.views import Message

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Loop:
    """An event loop in a daemon thread, from `start` to `stop`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="envfarm-client", daemon=True)

    def start(self) -> None:
        """Begin to take calls."""
        self._thread.start()

    def run(self, work: Awaitable[R]) -> R:
        """What the work comes to; it is cancelled when the caller is interrupted."""
        running = asyncio.run_coroutine_threadsafe(_awaited(work), self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def stop(self) -> None:
        """End the thread and the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _awaited(work: Awaitable[R]) -> R:
    return await work


class Blocking(Generic[T]):
    """Something asynchronous, and the loop that it lives on."""

    def __init__(self, inner: T, loop: Loop) -> None:
        self.inner = inner
        self.loop = loop


def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Blocking[Any], P], R]:
    """The method of a Blocking that runs a coroutine method and waits for it: same arguments, same documentation."""

    def call(self: Blocking[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.loop.run(method(self.inner, *args, **kwargs))

    call.__name__, call.__qualname__, call.__doc__ = method.__name__, method.__qualname__, method.__doc__
    return call


class SyncEpisode(Blocking[Episode]):
    """`Episode` without `await`; the same methods."""

    ready = blocking(Episode.ready)
    step = blocking(Episode.step)
    call = blocking(Episode.call)
    finish = blocking(Episode.finish)
    reward = blocking(Episode.reward)
    suspend = blocking(Episode.suspend)
    resume = blocking(Episode.resume)
    cancel = blocking(Episode.cancel)
    artifacts = blocking(Episode.artifacts)
    close = blocking(Episode.close)

    @property
    def id(self) -> str:
        """The farm's name for it."""
        return self.inner.id

    @property
    def task(self) -> str:
        """The task's id."""
        return self.inner.task

    @property
    def messages(self) -> tuple[Message, ...]:
        """The chat that it starts with."""
        return self.inner.messages

    @property
    def tools(self) -> list[dict[str, Any]]:
        """What the model may call, in OpenAI's function format."""
        return self.inner.tools


class SyncFarm(Blocking[Farm]):
    """`Farm` without `await`; the same arguments and methods. Threads may share it."""

    put_run = blocking(Farm.put_run)
    tasks = blocking(Farm.tasks)
    task = blocking(Farm.task)
    stats = blocking(Farm.stats)
    sample = blocking(Farm.sample)
    artifact = blocking(Farm.artifact)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(Farm(*args, **kwargs), Loop())

    def __enter__(self) -> SyncFarm:
        self.loop.start()
        try:
            self.loop.run(self.inner.__aenter__())
        except BaseException:
            self.loop.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.loop.run(self.inner.__aexit__(kind, error, trace))
        finally:
            self.loop.stop()

    def create(self, task: str | None = None, n: int = 1, **request: Any) -> list[SyncEpisode]:
        """As `Farm.create`."""
        return self._wrap(self.loop.run(self.inner.create(task, n, **request)))

    def fork(self, episode: SyncEpisode, n: int = 1) -> list[SyncEpisode]:
        """As `Farm.fork`."""
        return self._wrap(self.loop.run(self.inner.fork(episode.inner, n)))

    def attach(self, id: str) -> SyncEpisode:
        """As `Farm.attach`."""
        return SyncEpisode(self.loop.run(self.inner.attach(id)), self.loop)

    @contextmanager
    def episode(self, task: str | None = None, **request: Any) -> Iterator[SyncEpisode]:
        """As `Farm.episode`."""
        with self._block(self.inner.episode(task, **request)) as episode:
            yield SyncEpisode(episode, self.loop)

    @contextmanager
    def group(self, task: str | None, n: int, **request: Any) -> Iterator[list[SyncEpisode]]:
        """As `Farm.group`."""
        with self._block(self.inner.group(task, n, **request)) as episodes:
            yield self._wrap(episodes)

    def as_completed(self, episodes: Iterable[SyncEpisode]) -> Iterator[tuple[SyncEpisode, Reward]]:
        """As `Farm.as_completed`."""
        known = {one.id: one for one in episodes}
        rewards = self.inner.as_completed([one.inner for one in known.values()])
        try:
            while (ready := self.loop.run(anext(rewards, None))) is not None:
                episode, reward = ready
                yield known[episode.id], reward
        finally:
            self.loop.run(rewards.aclose())

    def _wrap(self, episodes: Iterable[Episode]) -> list[SyncEpisode]:
        return [SyncEpisode(one, self.loop) for one in episodes]

    @contextmanager
    def _block(self, block: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """An asynchronous block, entered and left on the loop."""
        entered = self.loop.run(block.__aenter__())
        try:
            yield entered
        finally:
            self.loop.run(block.__aexit__(None, None, None))
