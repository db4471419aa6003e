"""`question.json`: read back as written, and every defect a line that names the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from envfarm.tasks.search.question import FILE, Evidence, Question, load
from envfarm.toolbox.errors import TaskError

QUESTION = Question(
    question="Which fruit is red?",
    answer="apple",
    gold=("apple",),
    evidence=(Evidence(doc="apple", span="Colour: red", triple=("apple", "Colour", "red")),),
    corpus="sha256:0",
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(QUESTION.model_dump_json())
    assert load(tmp_path) == QUESTION


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": "?", "answer": "", "corpus": "sha256:0"}', "answer: String should have at least 1 character"),
        ('{"question": "?", "answer": "x"}', "corpus: Field required"),
        ('{"question": "?", "answer": "x", "corpus": "c", "alias": []}', "alias: no such field; did you mean aliases?"),
        ("{", "Invalid JSON"),
    ],
)
def test_a_defect_names_its_field(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(TaskError, match=r"question\.json: ") as error:
        load(tmp_path)
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="missing; a task of kind search needs it"):
        load(tmp_path)
