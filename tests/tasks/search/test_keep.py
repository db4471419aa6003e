"""Questions are kept by their pass rates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envfarm.tasks.search.keep import Band, Rate, keep
from envfarm.tasks.search.question import Question
from envfarm.tasks.search.write import LIST, write
from envfarm.toolbox.errors import BadRequest

RATES = {"question-0001": Rate(4, 4), "question-0002": Rate(1, 4), "question-0003": Rate(0, 4)}


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    made = [Question(question=f"Which is {n}?", answer=str(n), corpus="sha256:x") for n in range(4)]
    write(tmp_path / "made", made)
    return tmp_path / "made"


@pytest.mark.parametrize(
    ("band", "kept"),
    [("0.1..0.9", [2]), ("0..0.25", [2, 3]), ("0.25..1", [1, 2]), ("0..1", [1, 2, 3])],
)
def test_the_band_has_its_ends_and_what_was_never_scored_is_not_kept(
    questions: Path, tmp_path: Path, band: str, kept: list[int]
) -> None:
    folders = keep(questions, RATES, Band.parse(band), tmp_path / "kept")
    assert [folder.name for folder in folders] == [f"question-000{n}" for n in kept]
    assert (folders[0] / "question.json").read_bytes() == (questions / folders[0].name / "question.json").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "kept" / LIST).read_text().splitlines()]
    rates = [RATES[row["task"]] for row in rows]
    assert [(row["pass_rate"], row["attempts"]) for row in rows] == [(rate.share, 4) for rate in rates]


def test_nothing_is_left(questions: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"no question has a pass rate from 0.5 to 0.6; widen it"):
        keep(questions, RATES, Band(0.5, 0.6), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("text", ["", "0.5", "0.9..0.1", "-1..1", "0..2", "a..b", "nan..1"])
def test_no_band(text: str) -> None:
    with pytest.raises(BadRequest, match="write two pass rates from 0 to 1"):
        Band.parse(text)


def test_no_folder_of_questions(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="name a folder that `questions` made"):
        keep(tmp_path, RATES, Band(0, 1), tmp_path / "kept")
