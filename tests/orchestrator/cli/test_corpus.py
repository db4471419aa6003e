"""`envfarm corpus`, as a user runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture
def texts(cli: Any) -> Any:
    folder = cli.folder / "texts"
    folder.mkdir()
    (folder / "apple.md").write_text("# Apple\nA red fruit.\n")
    (folder / "pear.txt").write_text("Pear\nA green fruit.\n")
    (folder / "x.bin").write_bytes(b"\0")
    return folder


def test_build_look_and_search(cli: Any, texts: Any) -> None:
    said = cli("corpus", "build", "texts", "--out", "corpus", "--licence", "texts=MIT").stderr
    assert "dropped: x.bin: no reader" in said
    assert "2 documents, sha256:" in said
    manifest = json.loads(cli("corpus", "info", "corpus", "--json").stdout)
    assert manifest["sources"] == [{"name": "texts", "licence": "MIT", "documents": 2}]
    assert "2 documents are as they were built" in cli("corpus", "verify", "corpus").stderr
    for retriever in ("tantivy", "fts"):
        hits = json.loads(cli("corpus", "search", "corpus", "green", "--retriever", retriever, "--json").stdout)
        assert [hit["id"] for hit in hits] == ["pear"]
    assert "unchanged" in cli("corpus", "build", "texts", "--out", "corpus").stderr


def test_what_is_wrong_is_one_line(cli: Any, texts: Any) -> None:
    assert "no such corpus" in cli.error("corpus", "info", "none", code=2)
    assert "no such file or folder" in cli.error("corpus", "build", "none", "--out", "corpus", code=2)
    assert "write SOURCE=LICENCE" in cli.error("corpus", "build", "texts", "--out", "c", "--licence", "MIT", code=2)
    assert not (cli.folder / "corpus" / "current").exists()
    cli("corpus", "build", "texts", "--out", "corpus")
    assert "there are tantivy and fts" in cli.error("corpus", "search", "corpus", "x", "--retriever", "y", code=2)
