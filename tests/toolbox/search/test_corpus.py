"""A corpus on disk: found by id and url, the same wherever it was built, and damage is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.corpus import Corpus
from envfarm.toolbox.search.errors import CorpusError

from .conftest import Make, text_of

ONE = text_of("b/one", "The first text.", title="One", url="https://example.org/one")
TWO = text_of("a", "The second — with ünïcode\nand lines.")


def test_documents_come_by_id_and_are_found(make: Make) -> None:
    corpus = make(ONE, TWO)
    assert list(corpus) == [TWO, ONE]
    assert len(corpus) == 2
    assert corpus.get("b/one") == corpus.get("https://example.org/one") == ONE
    assert corpus.get("a") == TWO
    assert corpus.get("nothing") is corpus.get("") is None
    corpus.verify()


def test_the_same_documents_are_the_same_version(make: Make) -> None:
    assert make(ONE, TWO).version == make(TWO, ONE, out="other").version != make(ONE, out="third").version


def test_where_there_is_none_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no such corpus; make one with `envfarm corpus build"):
        Corpus.open(tmp_path / "none")
    with pytest.raises(CorpusError, match="no corpus in it"):
        Corpus.open(tmp_path)


def changed(place: Path) -> None:
    (place / "documents.jsonl").write_bytes((place / "documents.jsonl").read_bytes().replace(b"first", b"worst"))


def misled(place: Path) -> None:
    (place / "lookup.db").write_bytes(b"no database" * 1000)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda place: (place / "digests").unlink(), "digests: missing"),
        (lambda place: (place / "manifest.json").write_text("{}"), "manifest.json: damaged"),
        (lambda place: (place / "documents.jsonl").write_text("short"), "5 bytes where"),
        (changed, "documents.jsonl:2: changed since it was built"),
        (misled, "lookup.db: damaged"),
    ],
)
def test_damage_is_named_with_the_fix(make: Make, damage: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    damage(make(ONE, TWO).place)
    with pytest.raises(CorpusError, match=said) as error, Corpus.open(tmp_path / "corpus") as corpus:
        corpus.verify()
    assert "build it again" in str(error.value)


def test_a_reader_keeps_its_version_while_another_is_built(make: Make) -> None:
    before = make(ONE)
    after = make(TWO)
    assert [before.get("b/one"), before.get("a"), list(before)] == [ONE, None, [ONE]]
    assert [after.get("b/one"), after.get("a"), list(after)] == [None, TWO, [TWO]]


def test_a_document_has_no_other_fields() -> None:
    with pytest.raises(ValueError, match="extra"):
        Document.model_validate({"id": "x", "title": "", "text": "", "answer": "42"})
