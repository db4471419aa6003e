"""`make demo`: every task built, played by its solution and by doing nothing over HTTP, and one episode replayed.

With the setting `url` (`make demo-cluster`) the server there plays them; images are built here for the replay.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from envfarm import __version__
from envfarm.envs.base import Images
from envfarm.orchestrator import policies
from envfarm.orchestrator.checks import engine
from envfarm.orchestrator.cli.output import console, table
from envfarm.orchestrator.cli.remote import connect
from envfarm.orchestrator.replay import replay
from envfarm.orchestrator.sample_questions import with_questions
from envfarm.orchestrator.schemas.episodes import Call
from envfarm.orchestrator.settings import Settings, load
from envfarm.orchestrator.wire import farm_settings, open_images, open_player, open_registry
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import FarmError
from envfarm.trainers.client import Client, ClientError, Json

RUN = f"demo-{uuid.uuid4().hex[:8]}"
"""The run of this process's episodes."""

JOBS = max(2, os.cpu_count() or 2)
"""Builds, and episodes, at a time."""


_WRONG = {"search": None, "web": 1}
"""How many wrong answers of a kind are played (None: all); `envfarm tasks validate --wrong` plays every kind's."""

_STOPS = (signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class Row:
    """One task's line of the table."""

    task: Task
    build: float | None = None  # seconds
    seconds: float = 0.0  # of playing and scoring, both episodes
    oracle: float | None = None
    noop: float | None = None
    wrong: float | None = None  # the most that a wrong answer earned, where some were played
    episode: str | None = None  # the one that the solution played
    idle: str | None = None  # the one in which nothing was done
    why: str = ""

    @property
    def sound(self) -> bool:
        """Whether the solution earned the full mark, doing nothing nothing, and wrong answers no more than they may."""
        least = self.wrong is None or self.wrong <= self.task.config.envfarm.wrong_mark
        return self.solved and self.noop == 0.0 and least

    @property
    def solved(self) -> bool:
        """Whether the solution earned the full mark."""
        return self.oracle == self.task.config.envfarm.full_mark

    def failure(self) -> str:
        """Which task is not sound, why, and where to look."""
        why = self.why or f"its solution earned {_earned(self.oracle)} and doing nothing {_earned(self.noop)}"
        episode = self.idle if self.solved else self.episode
        return f"{self.task.id} failed: {why}" + (f"; see `envfarm episodes show {episode}`" if episode else "")


class Stage:
    """Shows how far a stage is, and what it is at: a bar for people, a line for each thing in a log."""

    def __init__(self, what: str, total: int) -> None:
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task(what, total=total)
        self._what, self._total, self._done = what, total, 0
        self._doing: dict[str, str] = {}

    def __enter__(self) -> Stage:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def doing(self, item: str, what: str) -> None:
        """What is going on with an item now."""
        self._doing[item] = what
        self._describe()
        if not console.is_terminal:
            _say(f"{item}: {what}")

    def done(self, item: str, how: str) -> None:
        """One more item is done."""
        self._done += 1
        self._doing.pop(item, None)
        self._describe()
        self._bar.advance(self._task)
        if not console.is_terminal:
            _say(f"{self._what} {self._done}/{self._total}: {item}{how and ': '}{how}")

    def _describe(self) -> None:
        now = ", ".join(f"{item}: {what}" for item, what in self._doing.items())
        self._bar.update(self._task, description=f"{self._what}; {now}" if now else self._what)


async def demo(settings: Settings) -> bool:
    """Run it all; whether everything came out as it should."""
    started = time.monotonic()
    _say(f"envfarm {__version__} on {_engine(settings)}, {JOBS} tasks at a time")
    if settings.samples and not settings.url:  # a server elsewhere has corpora of its own
        settings = await asyncio.to_thread(with_questions, settings, _say)
    registry = open_registry(settings)
    rows = [Row(task) for task in registry]
    broken = registry.errors()
    for id, error in broken.items():
        _say(f"{id}: {error}")
    async with open_images(settings) as images:
        await _each("built", rows, lambda row, stage: _build(row, images, stage))
    async with connect(settings) as client, _cleared(client):
        built = [row for row in rows if row.build is not None]
        await _each("played", built, lambda row, stage: _play(row, client, stage))
        _show(rows)
        films = [
            await _film(row, client, settings) for row in rows if row.task.kind == "web" and row.oracle is not None
        ]
        same = await _replay([row for row in rows if row.sound], client, settings)
    for row in rows:
        if not row.sound:
            _say(row.failure())
    sound = sum(row.sound for row in rows)
    _say(f"{sound} of {len(rows)} tasks are sound, in {time.monotonic() - started:.0f} s")
    if films:
        _say(f"{len(films)} pages were filmed, each with its keyframes beside it as .png: {films[0].parent}/*.webm")
    kept = "" if settings.url else ", artifacts/ (diffs, reports, outputs), envfarm.db (see `envfarm episodes list`)"
    _say(f"{settings.data.absolute()}: builds/ (their logs){kept}")
    return sound == len(rows) > 0 and same and not broken


async def _each(what: str, rows: Sequence[Row], work: Callable[[Row, Stage], Awaitable[None]]) -> None:
    """Do the work for all rows, `JOBS` at a time; a failure is that row's."""
    room = asyncio.Semaphore(JOBS)

    async def one(row: Row, stage: Stage) -> None:
        async with room:
            try:
                await work(row, stage)
            except (FarmError, ClientError) as error:
                row.why = " ".join(str(error).split())
        stage.done(row.task.id, "" if row.sound else row.why)

    with Stage(what, len(rows)) as stage:
        await asyncio.gather(*(one(row, stage) for row in rows))


async def _build(row: Row, images: Images, stage: Stage) -> None:
    started = time.monotonic()
    if row.task.has_image:
        stage.doing(row.task.id, "building")
        await images.agent(row.task)
        await images.verifier(row.task)
    row.build = time.monotonic() - started


async def _play(row: Row, client: Client, stage: Stage) -> None:
    started = time.monotonic()
    stage.doing(row.task.id, "playing its solution")
    async with _episode(client, row.task) as episode:
        row.episode = episode["id"]
        for call in policies.oracle(row.task):
            await client.step(episode["id"], [call.model_dump()])
        stage.doing(row.task.id, "scoring its solution")
        row.oracle = await _reward(row, client, episode)
    stage.doing(row.task.id, f"its solution earned {_earned(row.oracle)}; now playing do-nothing")
    async with _episode(client, row.task) as episode:
        row.idle = episode["id"]
        row.noop = await _reward(row, client, episode)
    if row.task.kind in _WRONG:
        wrong = list(policies.wrong(row.task).values())[: _WRONG[row.task.kind]]
        earned = [await _played(row, client, calls) for calls in wrong]
        row.wrong = max((value for value in earned if value is not None), default=None)
    row.seconds = time.monotonic() - started


async def _played(row: Row, client: Client, calls: Sequence[Call]) -> float | None:
    """What a wrong answer earns; why it is wrong is not why the task fails."""
    async with _episode(client, row.task) as episode:
        for call in calls:
            await client.step(episode["id"], [call.model_dump()])
        await client.finish(episode["id"])
        value: float | None = (await client.wait_reward(episode["id"]))["value"]
        return value


@asynccontextmanager
async def _episode(client: Client, task: Task) -> AsyncIterator[Json]:
    [episode] = await client.create(task.id, run=RUN)
    async with AsyncExitStack() as unless_played:
        unless_played.push_async_callback(client.cancel, episode["id"])
        yield episode
        unless_played.pop_all()


@asynccontextmanager
async def _cleared(client: Client) -> AsyncIterator[None]:
    """Cancel at the end whatever of ours still lives: an episode can be made whose creation was never answered."""
    try:
        yield
    finally:
        for state in ("queued", "starting", "running", "scoring"):
            left = [episode["id"] async for episode in client.episodes(run=RUN, state=state)]
            await asyncio.gather(*(client.cancel(id) for id in left))


async def _reward(row: Row, client: Client, episode: Json) -> float | None:
    await client.finish(episode["id"])
    reward = await client.wait_reward(episode["id"])
    row.why = row.why or reward["reason"] or ("" if reward["status"] == "done" else reward["status"])
    value: float | None = reward["value"]
    return value


async def _film(row: Row, client: Client, settings: Settings) -> Path:
    """Write the video of a page and its keyframes to files that a person can open; where the video is."""
    files = await client.artifacts(str(row.episode))
    video = settings.data.absolute() / "videos" / f"{row.task.id.replace('/', '-')}.webm"
    video.parent.mkdir(parents=True, exist_ok=True)
    for name, path in (("video.webm", video), ("contact.png", video.with_suffix(".png"))):
        if (digest := files.get(f"reward/{name}")) is not None:
            path.write_bytes(await client.artifact(digest))
    return video


async def _replay(sound: Sequence[Row], client: Client, settings: Settings) -> bool:
    """Play a recorded episode again in a fresh sandbox; whether every observation and the reward came out the same."""
    if not sound or not sound[0].episode:
        return False
    id, task = sound[0].episode, sound[0].task
    episode = {**await client.episode(id), "steps": [step async for step in client.steps(id)]}
    async with open_player(settings, "demo") as player:
        played = await replay(episode, task, player=player, settings=farm_settings(settings))
    result = "matches" if played.matches else f"differs: {played.difference}"
    _say(f"replay of {id} ({task.id}): {played.steps} steps, {result}")
    return played.matches


def _earned(reward: float | None) -> str:
    return "no reward" if reward is None else f"{reward:g}"


def _show(rows: Sequence[Row]) -> None:
    lines = [
        {
            "task": row.task.id,
            "kind": row.task.kind,
            "language": row.task.config.envfarm.language,
            "build s": None if row.build is None else round(row.build, 1),
            "solution": row.oracle,
            "nothing": row.noop,
            "wrong": row.wrong,
            "play s": round(row.seconds, 1),
            "sound": "yes" if row.sound else f"NO: {row.why}" if row.why else "NO",
        }
        for row in rows
    ]
    table(lines, ["task", "kind", "language", "build s", "solution", "nothing", "wrong", "play s", "sound"])


def _engine(settings: Settings) -> str:
    """Where it is played, in words."""
    if settings.url:
        return f"the server at {settings.url}"
    if settings.backend != "docker":
        return f"the {settings.backend} back end"
    with closing(engine(settings)) as findings:
        return f"Docker {next(findings).found}"


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False)


async def _until_told(work: Coroutine[Any, Any, bool]) -> bool:
    """Do the work; SIGTERM or SIGINT cancels it, and it ends what it started. A second one does not wait for that."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    told: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        _say("stopping: ending what was started")
        told.append(number)
        for one in _STOPS:
            loop.remove_signal_handler(one)
        task.cancel()

    for number in _STOPS:
        loop.add_signal_handler(number, stop, number)
    await asyncio.wait([task])
    if told:
        sys.exit(128 + told[0])
    return task.result()


def main() -> None:
    """Exit code 0 when all is as it should be, 1 when something is off, 3 when the farm cannot, 128 and a signal's."""
    try:
        fine = uvloop.run(_until_told(demo(load().settings)))
    except FarmError as error:
        _say(f"error: {' '.join(str(error).split())}")
        sys.exit(3)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
