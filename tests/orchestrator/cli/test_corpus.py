"""`envfarm corpus`, as a user runs it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ...toolbox.search.embedding_server import embedding_server


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
    assert "there are tantivy, fts, dense and hybrid" in cli.error(
        "corpus", "search", "corpus", "x", "--retriever", "y", code=2
    )


async def test_a_dense_index_is_made_with_progress(cli: Any, texts: Any) -> None:
    cli("corpus", "build", "texts", "--out", "corpus", "--no-index")
    dense = ("corpus", "--retriever", "dense")
    assert "embeddings.url: not set" in cli.error("corpus", "index", *dense, code=2)
    async with embedding_server() as server:
        table = json.dumps({"url": server.url, "model": "small"})
        said = (await asyncio.to_thread(cli, "corpus", "index", *dense, "--embeddings", table)).stderr
        assert "embedded: 2 documents" in said
        assert "the index dense is there" in said
        found = await asyncio.to_thread(
            cli, "corpus", "search", "corpus", "green pear", "--retriever", "dense", "--embeddings", table, "--json"
        )
    assert next(hit["id"] for hit in json.loads(found.stdout)) == "pear"
    assert len(server.texts) == 3
