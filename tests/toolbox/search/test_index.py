"""Every index of a corpus: the same hits in the same order, the right ones first, and damage is named."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from envfarm.toolbox.search.errors import CorpusError, SearchUnavailable
from envfarm.toolbox.search.index import IndexedCorpus, Kind, open_index

from .conftest import Make, text_of

KINDS: tuple[Kind, ...] = ("tantivy", "fts")
TEXTS = (
    text_of("apple", "Apples are red fruits of the apple tree.", title="Apple"),
    text_of("pear", "Pears are fruits, too. Some say that a pear is a green apple.", title="Pear"),
    text_of("orchard", "Trees stand in an orchard. [Apples](apple) fall from them.", title="Orchard"),
    text_of("quoted", "\"C++\" AND (NOT OR) 'near' :: ^ * café", title="Syntax"),
)
pytestmark = pytest.mark.parametrize("kind", KINDS)


async def ids(found: IndexedCorpus, query: str, top_k: int = 10) -> list[str]:
    return [hit.id for hit in await found.search(query, top_k)]


async def test_the_best_document_is_first(make: Make, kind: Kind) -> None:
    found = open_index(make(*TEXTS), kind)
    assert found.version == found.corpus.version
    assert (await ids(found, "pear"))[0] == "pear"
    assert (await ids(found, "which tree is in an ORCHARD?"))[0] == "orchard"
    assert set(await ids(found, "apples")) == {"apple", "pear", "orchard"}  # by their stem
    assert await ids(found, "apples", 1) == ["apple"]
    assert await ids(found, "zebra") == []
    [hit] = await found.search("green", 5)
    assert (hit.title, "green apple" in hit.snippet, hit.score > 0) == ("Pear", True, True)
    await found.close()


@pytest.mark.parametrize(
    "query", ['"C++" AND (', "NOT", "*", "^:'\"", "", "  ", "a" * 5000, "café", "\0", "the of and"]
)
async def test_no_query_is_an_error(make: Make, kind: Kind, query: str) -> None:
    found = open_index(make(*TEXTS), kind)
    assert len(await found.search(query, 3)) <= 3
    await found.close()


async def test_ties_go_by_id_and_nothing_depends_on_the_build(make: Make, kind: Kind) -> None:
    same = [text_of(f"{number:03}", f"common words {number % 7} x{number:03}", title="t") for number in range(200)]
    first, second = open_index(make(*same), kind), open_index(make(*reversed(same), out="other"), kind)
    for query in ("common", "common words", "3", "words 5"):
        hits = await first.search(query, 20)
        assert hits == await second.search(query, 20)
        assert [(-hit.score, hit.id) for hit in hits] == sorted((-hit.score, hit.id) for hit in hits)
        assert hits[:5] == await first.search(query, 5)
    await first.close()
    await second.close()


async def test_many_ask_at_once(make: Make, kind: Kind) -> None:
    found = open_index(make(*TEXTS), kind)
    answers = await asyncio.gather(*(ids(found, query) for query in ["apple", "pear", "orchard"] * 50))
    assert answers == answers[:3] * 50
    assert await asyncio.gather(*(found.document(id) for id in ["pear", "none"] * 20)) == [TEXTS[1], None] * 20
    await found.close()


async def test_it_is_made_once(make: Make, kind: Kind) -> None:
    corpus = make(*TEXTS)
    await open_index(corpus, kind).close()
    [stamp] = corpus.place.glob("index-*/stamp")
    made = stamp.stat().st_mtime_ns
    await open_index(make(*TEXTS), kind).close()
    assert stamp.stat().st_mtime_ns == made


async def test_a_damaged_index_is_named(make: Make, kind: Kind) -> None:
    corpus = make(*TEXTS)
    await open_index(corpus, kind).close()
    [place] = corpus.place.glob("index-*")
    (place / "stamp").write_text("another\n")
    with pytest.raises(CorpusError, match=f"{place}: damaged, or of another version"):
        open_index(make(*TEXTS), kind)
    shutil.rmtree(place)
    await open_index(make(*TEXTS), kind).close()
    for file in place.iterdir():
        if file.name != "stamp":
            file.write_bytes(b"rubbish")
    with pytest.raises(CorpusError, match="damaged"):
        open_index(make(*TEXTS), kind)


async def test_a_corpus_that_breaks_under_it_is_a_fault_of_the_farm(make: Make, kind: Kind) -> None:
    corpus = make(*TEXTS)
    found = open_index(corpus, kind)
    with (corpus.place / "documents.jsonl").open("r+b") as file:
        file.write(b"x" * 600)
    with pytest.raises(SearchUnavailable, match="cannot be read"):
        await found.search("apple", 3)
    await found.close()
