"""`envfarm questions`, as a user runs it: from the files of a published set to folders of tasks."""

from __future__ import annotations

import asyncio
import json

import pytest

from ...toolbox.chat_server import Asked, Says, call, chat_server
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


class Solver:
    """Searches for the village, opens its page and reads its river there; every other time it does not look."""

    def __init__(self) -> None:
        self.lazy: dict[str, bool] = {}

    def __call__(self, asked: Asked) -> Says:
        told = str(asked["messages"][0]["content"])
        seen = [str(message["content"]) for message in asked["messages"] if message["role"] == "tool"]
        village = told.partition("Of which river is ")[2].partition("'s")[0]
        if not seen:
            return call("search", query=village)
        if len(seen) == 1:
            return call("open", id="0")
        if village == "Oldby":
            self.lazy[village] = not self.lazy.get(village, False)
            if self.lazy[village]:
                return call("finish", answer="unknown")
        river = seen[1].partition("on the ")[2].partition(".")[0] if village != "Farby" else "unknown"
        return call("finish", answer=f"the {river}")


async def test_questions_are_kept_that_a_model_sometimes_answers(cli: Cli) -> None:
    rows = [
        {
            "_id": village,
            "question": f"Of which river is {village}'s mill?",
            "answer": f"the {river}",
            "supporting_facts": [[village, 0]],
            "context": [[village, [f"{village} has a mill on the {river}."]]],
        }
        for village, river in (("Newby", "Lun"), ("Oldby", "Kel"), ("Farby", "Mor"))
    ]
    (cli.folder / "dev.json").write_text(json.dumps(rows))
    cli("questions", "import", "hotpotqa", "dev.json", "--out", "tasks", "--corpus", "corpus", "--build")
    command = ["questions", "calibrate", "tasks", "--corpora", "corpus", "--name", "tiny", "-n", "4", "--out", "kept"]
    async with chat_server() as server:
        server.script = [Solver()]
        more = ["--model", server.url, "--concurrency", "1"]
        said = (await asyncio.to_thread(cli, *command, *more)).stderr
        assert "1 of 3 questions kept in kept; 1 are too easy, 1 too hard, 0 have no reward" in said
        [row] = [json.loads(line) for line in (cli.folder / "kept/questions.jsonl").read_text().splitlines()]
        assert (row["task"], row["pass_rate"], row["attempts"]) == ("question-0002", 0.5, 4)
        asked = len(server.asked)
        command[-1] = "wider"
        await asyncio.to_thread(cli, *command, *more, "--band", "0.5..1")
        assert len(server.asked) == asked  # nothing is played twice
    kept = sorted(path.name for path in (cli.folder / "wider").iterdir())
    assert kept == ["question-0001", "question-0002", "questions.jsonl"]


def test_bad_calibrations(cli: Cli) -> None:
    command = ["questions", "calibrate", "none", "--name", "tiny", "--out", "kept"]
    assert "0.1..0.9" in cli.error(*command, "--model", "http://x/v1", "--band", "high", code=2)
    assert "name a folder that `questions` made" in cli.error(*command, "--model", "http://x/v1", code=2)
