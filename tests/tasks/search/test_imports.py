"""Tasks of published question sets, over their own documents and over another corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envfarm.orchestrator import policies
from envfarm.tasks.folder import load
from envfarm.tasks.search.imports import build_corpus, import_questions
from envfarm.tasks.search.question import load as question_of
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import build
from envfarm.toolbox.search.corpus import Corpus, Source

from . import samples

WITH_DOCUMENTS = {
    "hotpotqa": samples.HOTPOTQA,
    "2wikimultihop": samples.WIKI2,
    "musique": samples.MUSIQUE,
    "browsecomp-plus": samples.BROWSECOMP,
}


def published(rows: list[dict[str, Any]], tmp_path: Path) -> list[Path]:
    path = tmp_path / "set.json"
    path.write_text(json.dumps(rows))
    return [path]


@pytest.mark.parametrize("name", WITH_DOCUMENTS)
def test_a_set_is_answered_from_its_own_documents(name: str, tmp_path: Path) -> None:
    files = published(WITH_DOCUMENTS[name] * 2, tmp_path)  # the same paragraphs come with many questions
    build_corpus(name, files, tmp_path / "corpus")
    folders, dropped = import_questions(name, files, tmp_path / "corpus", tmp_path / "out")
    assert len(folders) == 2
    assert dropped == ({"without an answer": 2} if name == "musique" else {})
    with Corpus.open(tmp_path / "corpus") as corpus:
        for folder in folders:
            question, task = question_of(folder), load(folder)
            assert question.source.startswith(f"{name} ")
            assert question.gold
            assert all(corpus.get(id) is not None for id in question.gold)
            for quoted in question.evidence:
                document = corpus.get(quoted.doc)
                assert document is not None
                assert quoted.span in document.text
            assert task.config.envfarm.search is not None
            assert task.config.envfarm.search.corpus == corpus.version
            assert "exactly one answer" not in task.instruction  # nobody proved that
            assert policies.oracle(task)[-1].name == "finish"


def corpus_of(tmp_path: Path, *documents: Document) -> Path:
    build([(Source(name="test"), documents)], tmp_path / "corpus")
    return tmp_path / "corpus"


def test_another_corpus_has_its_pages_under_other_ids(tmp_path: Path) -> None:
    corpus = corpus_of(
        tmp_path,
        Document(id="w/1", title="scott derrickson", text="Scott Derrickson is an American director. And more."),
        Document(id="w/2", title="Ed Wood", text="Rewritten since."),
    )
    [folder], _ = import_questions("hotpotqa", published(samples.HOTPOTQA, tmp_path), corpus, tmp_path / "out")
    question = question_of(folder)
    assert set(question.gold) == {"w/1", "w/2"}
    assert [quoted.doc for quoted in question.evidence] == ["w/1"]  # only what it says in the same words


def test_a_page_is_found_by_its_url(tmp_path: Path) -> None:
    corpus = corpus_of(
        tmp_path,
        Document(id="a", title="", text="x", url="https://a.test/oldby"),
        Document(id="b", title="", text="y", url="https://a.test/flood"),
    )
    files = published(samples.BROWSECOMP, tmp_path)
    [folder], _ = import_questions("browsecomp-plus", files, corpus, tmp_path / "out")
    assert question_of(folder).gold == ("a", "b")


def test_sets_without_documents_need_a_corpus(tmp_path: Path) -> None:
    files = published(samples.SEARCH_R1, tmp_path)
    with pytest.raises(BadRequest, match="no documents come with it; name the corpus"):
        build_corpus("search-r1", files, tmp_path / "none")
    corpus = corpus_of(tmp_path, Document(id="emma", title="Emma", text="By Jane Austen."))
    folders, _ = import_questions("search-r1", files, corpus, tmp_path / "out", n=2)
    assert len(folders) == 2
    second = question_of(folders[1])
    assert (second.answer, second.aliases, second.gold) == ("Jane Austen", ("Austen",), ())


def test_a_question_whose_documents_are_elsewhere_is_left_out(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, Document(id="x", title="Something else", text="x"))
    with pytest.raises(BadRequest, match="no question is left: 1 their documents are not in the corpus"):
        import_questions("hotpotqa", published(samples.HOTPOTQA, tmp_path), corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()
