"""Questions from a small corpus: one answer each, which follows from what they quote; a seed makes the same again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envfarm.orchestrator import policies
from envfarm.tasks.folder import load
from envfarm.tasks.search.build import build_questions
from envfarm.tasks.search.question import Question
from envfarm.tasks.search.question import load as question_of
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import build
from envfarm.toolbox.search.corpus import Corpus, Source
from envfarm.toolbox.search.errors import CorpusError


@pytest.fixture(scope="module")
def corpus(towns: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("towns") / "corpus"
    build([(Source(name="test"), towns)], folder)
    return folder


@pytest.fixture(scope="module")
def folders(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_questions(corpus, 9, [1, 2, 3], 5, tmp_path_factory.mktemp("questions") / "out")


def test_each_is_a_task_that_can_be_played(folders: list[Path], corpus: Path) -> None:
    with Corpus.open(corpus) as opened:
        for folder in folders:
            task = load(folder)
            assert (task.kind, task.has_image) == ("search", False)
            assert task.config.envfarm.search is not None
            assert task.config.envfarm.search.corpus == opened.version
            assert question_of(folder).question in task.instruction
            assert policies.oracle(task)[-1].name == "finish"


def test_the_evidence_stands_in_the_corpus(folders: list[Path], corpus: Path) -> None:
    with Corpus.open(corpus) as opened:
        for question in map(question_of, folders):
            assert question.evidence
            assert {one.doc for one in question.evidence} >= set(question.gold)
            for one in question.evidence:
                document = opened.get(one.doc)
                assert document is not None
                assert one.span in document.text


def test_no_question_names_its_answer(folders: list[Path]) -> None:
    for question in map(question_of, folders):
        assert question.answer.casefold() not in question.question.casefold()


def test_depth_is_what_was_asked_and_makes_it_harder(folders: list[Path]) -> None:
    depths = [question_of(folder).difficulty["depth"] for folder in folders]
    assert depths == [1, 2, 3] * 3
    assert all(question_of(folder).difficulty["total"] > 0 for folder in folders)


def test_a_seed_makes_the_same_again_and_another_one_others(folders: list[Path], corpus: Path, tmp_path: Path) -> None:
    again = build_questions(corpus, 9, [1, 2, 3], 5, tmp_path / "again")
    assert [question_of(one) for one in again] == [question_of(one) for one in folders]
    listed = [json.loads(line) for line in (tmp_path / "again" / "questions.jsonl").read_text().splitlines()]
    assert [one.pop("task") for one in listed] == [folder.name for folder in again]
    assert [Question.model_validate(one) for one in listed] == [question_of(one) for one in folders]
    others = build_questions(corpus, 9, [1, 2, 3], 6, tmp_path / "others")
    assert [question_of(one).question for one in others] != [question_of(one).question for one in folders]


def test_what_cannot_be_done_is_said_and_nothing_is_left(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    with pytest.raises(BadRequest, match="full: not an empty folder"):
        build_questions(corpus, 1, [1], 0, tmp_path / "full")
    with pytest.raises(BadRequest, match=r"depth: \[0\]"):
        build_questions(corpus, 1, [0], 0, tmp_path / "out")
    build([(Source(name="test"), [Document(id="a", title="A", text="Prose alone.")])], tmp_path / "prose")
    with pytest.raises(CorpusError, match="no facts that link its documents"):
        build_questions(tmp_path / "prose", 1, [1], 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()
