"""Files become documents: their titles, their links, and what is none of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import Dropped
from envfarm.toolbox.search.errors import CorpusError
from envfarm.toolbox.search.readers import read


def test_a_folder_is_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "sub/b.txt").write_text("\n  The title \nthe rest\n")
    (tmp_path / "a.md").write_text("intro\n# Heading #\nsee [b](sub/b.txt#part) and [out](https://x.org/y) [top](/z)")
    (tmp_path / "c.bin").write_bytes(b"x")
    (tmp_path / "d.txt").write_bytes(b"a\0b")
    (tmp_path / "e.txt").write_bytes(b"\xff\xfe\xfd")
    assert list(read(tmp_path)) == [
        Document(
            id="a", title="Heading", text="intro\n# Heading #\nsee [b](sub/b) and [out](https://x.org/y) [top](/z)"
        ),
        Dropped("c.bin", "no reader"),
        Dropped("d.txt", "binary"),
        Dropped("e.txt", "binary"),
        Document(id="sub/b", title="The title", text="The title \nthe rest"),
    ]


def test_a_page_is_read_without_what_is_not_its_text(tmp_path: Path) -> None:
    (tmp_path / "p.html").write_text(
        "<html><head><title>A  page</title><style>b{}</style></head><body><nav>menu</nav><h1>Top</h1>"
        "<p>One <b>two</b> <a href='q.html'>three</a>.</p><script>alert(1)</script><ul><li>four</ul></body></html>"
    )
    [one] = read(tmp_path / "p.html")
    assert isinstance(one, Document)
    assert (one.id, one.title) == ("p", "A page")
    assert "# Top" in one.text
    assert "One **two** [three](q)." in one.text
    assert not {"menu", "alert", "b{}"} & set(one.text.split())


def test_lines_of_json(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "x.jsonl.gz", "wt") as file:
        file.write(
            '{"id": "a", "title": "t", "text": "x", "metadata": {"k": "v"}}\n\n{"id": "b", "title": "", "text": ""}\n'
        )
    assert [one.id for one in read(tmp_path / "x.jsonl.gz") if isinstance(one, Document)] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"id": "a", "title": "t", "text": "x"}\n{"id": ', r"x\.jsonl:2: not JSON"),
        ('{"id": "a", "title": "t"}', r"x\.jsonl:1: text"),
        ('{"id": "a", "title": "t", "text": 5}', r"x\.jsonl:1: text"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(CorpusError, match=said):
        list(read(tmp_path / "x.jsonl"))


def test_what_nobody_reads_is_an_error_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pdf").write_text("x")
    with pytest.raises(CorpusError, match=r"nobody reads \.pdf; there are .*\.jsonl"):
        list(read(tmp_path / "x.pdf"))
    with pytest.raises(CorpusError, match="no such file"):
        list(read(tmp_path / "none"))
