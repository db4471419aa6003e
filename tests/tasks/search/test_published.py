"""Published question sets are read as they are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from envfarm.tasks.search.published import Published, read
from envfarm.toolbox.errors import BadRequest

from . import samples


def listed(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows).encode()


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in rows)


def found(name: str, tmp_path: Path, data: bytes) -> list[Published]:
    path = tmp_path / "set.json"
    path.write_bytes(data)
    return [*read(name, path)]


@pytest.mark.parametrize("form", [listed, lines])
def test_hotpotqa(tmp_path: Path, form: Any) -> None:
    [one] = found("hotpotqa", tmp_path, form(samples.HOTPOTQA))
    assert (one.id, one.answers) == ("5a8b57f25542995d1e6f1371", ("yes",))
    assert [page.title for page in one.documents] == ["Ed Wood (film)", "Scott Derrickson", "Ed Wood"]
    assert one.documents[1].text == "Scott Derrickson is an American director. He lives in Los Angeles."
    assert {page.title for page in one.gold} == {"Scott Derrickson", "Ed Wood"}
    assert [quoted.span for quoted in one.evidence] == [
        "Scott Derrickson is an American director.",
        "Edward Davis Wood Jr. was an American filmmaker.",
    ]


def test_2wikimultihop_whose_sentences_have_no_space_between(tmp_path: Path) -> None:
    [one] = found("2wikimultihop", tmp_path, listed(samples.WIKI2))
    assert one.answers == ("Małgorzata Braunek",)
    assert [page.title for page in one.gold] == ["Xawery Żuławski", "Polish-Russian War (film)"]
    assert one.gold[0].text == "Xawery Żuławski is a Polish director. He is the son of Małgorzata Braunek."
    assert all(quoted.span in {page.id: page.text for page in one.gold}[quoted.doc] for quoted in one.evidence)


def test_musique_and_what_has_no_answer_there(tmp_path: Path) -> None:
    one, unanswerable = found("musique", tmp_path, lines(samples.MUSIQUE))
    assert one.answers == ("Miquette Giraudy", "Giraudy")
    assert [page.title for page in one.gold] == ["Miquette Giraudy", "Green (album)"]
    assert len(one.documents) == 3
    assert unanswerable.answers == ()


def test_browsecomp_plus(tmp_path: Path) -> None:
    [one] = found("browsecomp-plus", tmp_path, lines(samples.BROWSECOMP))
    assert (one.id, one.answers) == ("769", ("Oldby",))
    assert [(page.id, page.title) for page in one.gold] == [("5412", "Oldby"), ("77", "The flood was in 1823.")]
    assert {page.id for page in one.documents} == {"5412", "77", "9"}
    assert one.gold[0].url == "https://a.test/oldby"


def test_rows_of_search_r1_and_of_flashrag(tmp_path: Path) -> None:
    both, verl, flashrag = found("search-r1", tmp_path, lines(samples.SEARCH_R1))
    assert (both.id, both.question, both.answers) == (
        "train_0",
        "total number of death row inmates in the us?",
        ("2,718",),
    )
    assert (verl.id, verl.question) == ("triviaqa/test/3", "who wrote Emma?")
    assert verl.answers == ("Jane Austen", "Austen")
    assert (flashrag.id, flashrag.answers) == ("dev_1", ("Nobody", "No one"))


def test_a_packed_file(tmp_path: Path) -> None:
    path = tmp_path / "dev.jsonl.gz"
    path.write_bytes(gzip.compress(lines(samples.MUSIQUE)))
    assert len([*read("musique", path)]) == 2


def test_a_paragraph_is_the_same_document_wherever_it_is(tmp_path: Path) -> None:
    [one] = found("hotpotqa", tmp_path, listed(samples.HOTPOTQA))
    other = samples.HOTPOTQA[0] | {"context": samples.HOTPOTQA[0]["context"][::-1]}
    [again] = found("hotpotqa", tmp_path, listed([other]))
    assert {page.id for page in one.documents} == {page.id for page in again.documents}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("hotpot", b"[]", "there is no 'hotpot'; there are hotpotqa, 2wikimultihop"),
        ("hotpotqa", b"PAR1 and more", "Parquet; write it as JSON lines first"),
        ("hotpotqa", b'{"_id": ', "not JSON"),
        ("hotpotqa", lines(samples.MUSIQUE), r"set.json:1: no row of hotpotqa: _id"),
        ("musique", b"{}\n", "set.json:1: no row of musique"),
        ("musique", b"[3]", r"set.json\[0\]: no row of musique"),
        ("search-r1", b'{"id": "1", "golden_answers": ["a"]}', "question: it is empty"),
        ("search-r1", b'{"prompt": [{"role": "user", "content": "What?"}]}', "does not end with `Question: …`"),
        (
            "browsecomp-plus",
            b'{"query_id": "1", "query": "QUJDREVGR0hJSktMTU5PUA==", "answer": "QQ=="}',
            "encrypted; read what their scripts_build_index/decrypt_dataset.py writes",
        ),
    ],
)
def test_bad_input_is_named(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        found(name, tmp_path, data)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be read: No such file"):
        [*read("musique", tmp_path / "none.jsonl")]
