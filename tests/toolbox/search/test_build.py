"""To build a corpus: whole or not at all, each text once, and what was dropped is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envfarm.toolbox.errors import StorageError
from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import Dropped, build
from envfarm.toolbox.search.corpus import Corpus, Source
from envfarm.toolbox.search.errors import CorpusError

from .conftest import text_of


def ids(folder: Path) -> list[str]:
    with Corpus.open(folder) as corpus:
        return [one.id for one in corpus]


def test_what_is_dropped_is_told(tmp_path: Path) -> None:
    found = [text_of("a", "x"), text_of("b", "x", title="a"), text_of("c", " \n"), Dropped("d", "binary")]
    built = build([(Source(name="it", licence="MIT"), found)], tmp_path)
    assert built.manifest.documents == 1
    assert built.manifest.dropped == {"binary": 1, "empty": 1, "same text as another": 1}
    assert {(one.name, one.why) for one in built.dropped} == {
        ("b", "same text as another"),
        ("c", "empty"),
        ("d", "binary"),
    }
    with Corpus.open(tmp_path) as corpus:
        assert corpus.manifest.sources == (Source(name="it", licence="MIT", documents=1),)


def test_the_same_id_twice_is_an_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    source = Source(name="it")
    build([(source, [text_of("a", "x")])], tmp_path)
    with pytest.raises(CorpusError, match="id 'b' is there twice"):
        build([(source, [text_of("b", "1"), text_of("b", "2")])], tmp_path)
    assert ids(tmp_path) == ["a"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["current", "versions"]


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no documents"):
        build([(Source(name="it"), [])], tmp_path)


def test_unchanged_documents_make_no_new_version(tmp_path: Path) -> None:
    source = Source(name="it")
    assert build([(source, [text_of("a", "x")])], tmp_path).new
    place = (tmp_path / "current").resolve()
    (place / "index-of-mine").mkdir()
    assert not build([(source, [text_of("a", "x")])], tmp_path).new
    assert (place / "index-of-mine").is_dir()
    for text in "yzw":
        build([(source, [text_of("a", text)])], tmp_path)
    assert len(list((tmp_path / "versions").iterdir())) == 2


def test_a_full_disk_is_no_half_corpus(small_disk: Path) -> None:
    build([(Source(name="it"), [text_of("a", "x")])], small_disk)
    many = (text_of(str(number), f"{number} " * 1000) for number in range(1000))
    with pytest.raises(StorageError, match="make room"):
        build([(Source(name="it"), many)], small_disk)
    assert ids(small_disk) == ["a"]
    assert sorted(one.name for one in small_disk.iterdir()) == ["current", "versions"]


def test_many_documents_need_little_memory(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from envfarm.toolbox.search.base import Document\n"
        "from envfarm.toolbox.search.build import build\n"
        "from envfarm.toolbox.search.corpus import Source\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "many = (Document(id=f'{n:06}', title='t', text=f'{n} ' + 'word ' * 1000) for n in range(20000))\n"
        "build([(Source(name='it'), many)], Path(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50_000  # KiB, for 100 MB of text


def test_a_source_that_fails_midway_leaves_what_was_there(tmp_path: Path) -> None:
    def broken() -> Iterator[Document]:
        yield text_of("b", "x")
        raise CorpusError("it broke")

    build([(Source(name="it"), [text_of("a", "x")])], tmp_path)
    with pytest.raises(CorpusError, match="it broke"):
        build([(Source(name="it"), broken())], tmp_path)
    assert ids(tmp_path) == ["a"]
