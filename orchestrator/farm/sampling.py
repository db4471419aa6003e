"""Which tasks to train on next: drawn by how often they were solved, source by source."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envfarm.orchestrator.farm.episodes import dataset_of
from envfarm.orchestrator.schemas.tasks import Sampled, SampleRequest, SampleView
from envfarm.tasks.spec import Task


@dataclass(frozen=True, slots=True)
class Record:
    """How a task went so far."""

    attempts: int = 0
    passes: int = 0

    @property
    def pass_rate(self) -> float | None:
        """The share of its attempts that passed, None before the first."""
        return self.passes / self.attempts if self.attempts else None


NEW = Record()


def sample(tasks: Sequence[Task], records: Mapping[str, Record], request: SampleRequest) -> SampleView:
    """Tasks drawn at random from those in the band; the same seed draws the same ones from the same statistics."""
    weights = {task.id: _weight(records.get(task.id, NEW), request) for task in tasks}
    inside = [task for task in tasks if weights[task.id] > 0]
    sizes = Counter(dataset_of(task.id) for task in inside)
    for task in inside:
        source = dataset_of(task.id)
        if request.weights is not None:  # a source has its share of the draws, however many tasks it has
            weights[task.id] *= request.weights.get(source, 0.0) / sizes[source]
    inside = [task for task in inside if weights[task.id] > 0]
    drawn = _draw(inside, weights, request, random.Random(request.seed))
    return SampleView(
        items=[_sampled(task, records.get(task.id, NEW)) for task in drawn],
        candidates=len(inside),
        tasks=len(tasks),
    )


def _weight(record: Record, request: SampleRequest) -> float:
    """Before it is shared out among the tasks of a source."""
    rate = record.pass_rate
    if rate is None or record.attempts < request.min_attempts:
        return request.new
    low, high = request.pass_rate
    return 1.0 if low <= rate <= high else 0.0


def _draw(
    tasks: Sequence[Task], weights: Mapping[str, float], request: SampleRequest, chance: random.Random
) -> list[Task]:
    if not tasks:
        return []
    if request.repeat:
        return chance.choices(tasks, [weights[task.id] for task in tasks], k=request.n)
    # The n largest of u^(1/w) are a draw without replacement (Efraimidis and Spirakis, 2006).
    keys = {task.id: chance.random() ** (1 / weights[task.id]) for task in tasks}
    return sorted(tasks, key=lambda task: keys[task.id], reverse=True)[: request.n]


def _sampled(task: Task, record: Record) -> Sampled:
    return Sampled(
        task=task.id,
        dataset=dataset_of(task.id),
        kind=task.kind,
        attempts=record.attempts,
        passes=record.passes,
        pass_rate=record.pass_rate,
    )
