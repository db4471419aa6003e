"""Search tasks from the first query to the reward, on a corpus of a few documents, without a sandbox."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from envfarm.envs.base import Services
from envfarm.orchestrator import policies
from envfarm.orchestrator.play import Player, Playing
from envfarm.orchestrator.schemas.episodes import Call
from envfarm.tasks.folder import load
from envfarm.tasks.spec import Task
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import TaskError
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend
from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import build
from envfarm.toolbox.search.corpus import Corpus, Source
from envfarm.toolbox.search.index import open_index
from envfarm.toolbox.search.served import Served

DOCUMENTS = [
    {"id": "mill", "title": "The mill", "text": "Architect: [Ada Brook](ada)\nThe mill stands in Overdale."},
    {"id": "ada", "title": "Ada Brook", "text": "Ada Brook was born in [Netherby](netherby) in 1852."},
    {"id": "netherby", "title": "Netherby", "text": "Netherby is a village on the river Lune."},
    {"id": "other", "title": "Another village", "text": "Overdale is a village on the river Wyre."},
]
QUESTION = {
    "question": "On which river lies the birthplace of the mill's architect?",
    "answer": "Lune",
    "aliases": ["river Lune"],
    "gold": ["netherby", "ada", "mill"],
    "evidence": [
        {"doc": "mill", "span": "Architect: [Ada Brook](ada)", "triple": ["The mill", "architect", "Ada Brook"]},
        {"doc": "ada", "span": "born in [Netherby](netherby)", "triple": ["Ada Brook", "born in", "Netherby"]},
        {"doc": "netherby", "span": "village on the river Lune", "triple": ["Netherby", "river", "Lune"]},
    ],
}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    build([(Source(name="test"), [Document.model_validate(one) for one in DOCUMENTS])], tmp_path / "corpus")
    indexed = open_index(Corpus.open(tmp_path / "corpus"), "fts")
    yield Served([indexed])
    await indexed.close()


def write(folder: Path, corpus: str, **question: Any) -> Task:
    folder.mkdir()
    (folder / "instruction.md").write_text(QUESTION["question"] + "\n")
    (folder / "task.toml").write_text(f'[envfarm]\nkind = "search"\n[envfarm.search]\ncorpus = "{corpus}"\n')
    (folder / "question.json").write_text(json.dumps({**QUESTION, "corpus": corpus, **question}))
    return load(folder)


@pytest.fixture
def task(tmp_path: Path, served: Served) -> Task:
    return write(tmp_path / "river", served.versions[0])


@asynccontextmanager
async def playing(task: Task, served: Served, tmp_path: Path) -> AsyncIterator[Playing]:
    backend = SimulatedBackend()
    player = Player(
        backend,
        None,  # type: ignore[arg-type]  # no image is asked for
        Artifacts(tmp_path / "artifacts"),
        owner="test-search",
        services=Services(retrievers=served),
    )
    async with player.start(task) as one:
        yield one
    assert not backend.sandboxes
    await backend.close()


async def play(task: Task, served: Served, tmp_path: Path, calls: list[Call]) -> Any:
    async with playing(task, served, tmp_path) as one:
        for call in calls:
            assert not (result := await one.call(call)).is_error, result.content
        reward = await one.score()
        kept = {name: json.loads(one._player.artifacts.get(digest)) for name, digest in reward.evidence.items()}
        return reward, kept["search"]


async def test_who_follows_the_evidence_earns_it(task: Task, served: Served, tmp_path: Path) -> None:
    reward, kept = await play(task, served, tmp_path, policies.oracle(task))
    assert (reward.value, reward.reason) == (1.0, None)
    assert (reward.parts["evidence_recall"], reward.parts["evidence_precision"], reward.parts["format"]) == (1, 1, 1)
    assert reward.parts["calls"] == 9
    assert kept["opened"] == ["mill", "ada", "netherby"]
    assert kept["corpus"] == served.versions[0]


async def test_doing_nothing_and_guessing_earn_nothing(task: Task, served: Served, tmp_path: Path) -> None:
    for calls in ([], *policies.wrong(task).values()):
        reward, kept = await play(task, served, tmp_path, calls)
        assert (reward.value, reward.parts["correct"], kept["opened"]) == (0.0, 0.0, [])
    assert reward.reason == "the answer is another one"


async def test_what_counts_as_read_is_what_the_farm_saw(task: Task, served: Served, tmp_path: Path) -> None:
    calls = [
        Call(name="open", arguments={"id": "other"}),
        Call(name="open", arguments={"id": "netherby"}),
        Call(name="finish", arguments={"answer": "the river Lune 【1†L1】【0†L1】【7†L1】"}),
    ]
    reward, kept = await play(task, served, tmp_path, calls)
    assert reward.value == 1.0
    assert reward.parts["evidence_recall"] == pytest.approx(1 / 3)
    assert reward.parts["evidence_precision"] == 0.5
    assert reward.parts["citations"] == pytest.approx(2 * (1 / 3) * 0.5 / (1 / 3 + 0.5))
    assert kept["cited"] == ["netherby", "other"]


@pytest.mark.parametrize(
    "answer", ["Lune or Wyre", "Wyre 【Lune】", "Lune\nWyre", "Lune " * 60, "Wyre 【0†Lune】"]
)
async def test_an_answer_that_hedges_is_none(answer: str, task: Task, served: Served, tmp_path: Path) -> None:
    reward, _ = await play(task, served, tmp_path, [Call(name="finish", arguments={"answer": answer})])
    assert reward.value == 0.0


async def test_a_question_for_another_corpus_is_not_begun(served: Served, tmp_path: Path) -> None:
    task = write(tmp_path / "elsewhere", "sha256:none")
    with pytest.raises(TaskError, match=f"made for sha256:none, and this farm serves {served.versions[0]}"):
        async with playing(task, served, tmp_path):
            pass


async def test_a_question_that_cannot_be_read_is_named(task: Task, served: Served, tmp_path: Path) -> None:
    async with playing(task, served, tmp_path) as one:
        (task.path / "question.json").write_text('{"answer": 3}')
        with pytest.raises(TaskError, match=r"question.json: question: Field required"):
            await one.score()
