"""`envfarm questions`, as a user runs it: from the files of a published set to folders of tasks."""

from __future__ import annotations

import json

import pytest

from .conftest import Cli

ROWS = [
    {
        "_id": "1",
        "question": "Of which river is Oldby's mill?",
        "answer": "the Kel",
        "supporting_facts": [["Oldby", 0]],
        "context": [["Oldby", ["Oldby has a mill on the Kel."]], ["Newby", ["Newby has none."]]],
    },
    {"_id": "2", "question": "Who?", "answer": "", "supporting_facts": [], "context": [["Oldby", ["Oldby."]]]},
]


@pytest.fixture
def published(cli: Cli) -> str:
    (cli.folder / "dev.json").write_text(json.dumps(ROWS))
    return "dev.json"


def test_a_published_set_with_its_own_documents(cli: Cli, published: str) -> None:
    command = ["questions", "import", "hotpotqa", published, "--out", "tasks", "--corpus", "corpus"]
    said = cli(*command, "--build").stderr
    assert "left out: 1: without an answer" in said
    assert "1 questions in tasks" in said
    assert (cli.folder / "tasks/question-0001/task.toml").is_file()
    assert "not an empty folder" in cli.error(*command, code=2)  # nothing is written over


def test_a_corpus_that_is_not_there(cli: Cli, published: str) -> None:
    command = ["questions", "import", "hotpotqa", published, "--out", "tasks"]
    assert "no such corpus" in cli.error(*command, "--corpus", "none", code=2)
    assert not (cli.folder / "tasks").exists()
