"""All attempts at all tasks, many at once; each is kept as soon as it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from envfarm.orchestrator.rollout.attempt import Options, Trajectory, play
from envfarm.orchestrator.rollout.ledger import Ledger
from envfarm.toolbox.chat import ChatModel
from envfarm.trainers.client import Farm, Task
from envfarm.trainers.spawned import spawned


@dataclass(frozen=True, slots=True)
class Rollout:
    """Plays tasks by a model."""

    farm: Farm
    model: ChatModel
    ledger: Ledger
    options: Options

    async def play(self, tasks: Sequence[Task], attempts: int, at_once: int) -> AsyncIterator[Trajectory]:
        """Each attempt that is left, as it is done; a task's are begun together. Raises StorageError."""
        room = asyncio.Semaphore(at_once)

        async def one(task: Task, number: int) -> Trajectory:
            async with room:
                done = await play(self.farm, self.model, task, number, self.options)
            self.ledger.add(done)
            return done

        left = [(task, number) for task in tasks for number in self.ledger.left(task.id, attempts)]
        async with spawned(one(task, number) for task, number in left) as playing:
            for done in asyncio.as_completed(playing):
                yield await done
