"""Corpora for the tests of search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import build
from envfarm.toolbox.search.corpus import Corpus, Source

Make = Callable[..., Corpus]


def text_of(id: str, text: str, **more: str) -> Document:
    return Document(id=id, title=more.pop("title", id), text=text, **more)  # type: ignore[arg-type]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Builds a corpus of some documents in this test's folder and opens it."""

    with ExitStack() as stack:

        def corpus(*documents: Document, out: str = "corpus") -> Corpus:
            build([(Source(name="test", licence="MIT"), documents)], tmp_path / out)
            return stack.enter_context(Corpus.open(tmp_path / out))

        yield corpus
