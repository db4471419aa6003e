"""The corpus and the questions that `make demo` makes for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from envfarm.orchestrator.sample_questions import COUNT, DEPTHS, with_questions
from envfarm.orchestrator.settings import Settings
from envfarm.tasks.registry import Registry
from envfarm.tasks.search.question import load
from envfarm.toolbox.search.corpus import Corpus


def test_a_machine_without_package_lists_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    settings = Settings(data=tmp_path / "data")
    assert with_questions(settings, said.append) == settings
    assert "no questions are played: there is no apt-cache here" in said[-1]


@pytest.mark.soak
def test_they_are_made_once_and_of_every_depth(tmp_path: Path) -> None:
    said: list[str] = []
    settings = with_questions(Settings(data=tmp_path), said.append)
    with Corpus.open(settings.corpora[0]) as corpus:
        assert len(corpus) > 20_000
        tasks = Registry(list(settings.tasks)).all()
        assert {load(task.path).corpus for task in tasks} == {corpus.version}
    assert len(tasks) == COUNT
    assert {load(task.path).difficulty["depth"] for task in tasks} == set(DEPTHS)
    assert len(said) == 2
    assert with_questions(Settings(data=tmp_path), said.append) == settings
    assert len(said) == 2
