"""tantivy's index: BM25 in milliseconds over hundreds of thousands of documents, read from disk as it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import tantivy

from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.errors import CorpusError

_TITLE = 2.0  # a word of the title counts twice
_MEMORY = 256 << 20  # bytes that the writer may hold
_LONGEST = 80  # bytes of a word; longer ones are no words
_MORE = 32  # hits beyond the last that is asked for, among which ties are told apart


class Tantivy:
    """BM25 (k1 = 1.2, b = 0.75) over title and text, English stems."""

    form = "tantivy 0.27 simple lowercase english 1"

    def __init__(self) -> None:
        self._words = (
            tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
            .filter(tantivy.Filter.remove_long(_LONGEST))
            .filter(tantivy.Filter.lowercase())
            .filter(tantivy.Filter.stemmer("english"))
            .build()
        )
        fields = tantivy.SchemaBuilder()
        fields.add_text_field("id", stored=True, tokenizer_name="raw")
        for name in ("title", "text"):
            fields.add_text_field(name, stored=False, tokenizer_name="english", index_option="freq")
        self._schema = fields.build()
        self._searcher: tantivy.Searcher | None = None
        self._place = Path()

    def make(self, documents: Iterator[Document], place: Path) -> None:
        """Write the index into a folder."""
        index = tantivy.Index(self._schema, path=str(place))
        index.register_tokenizer("english", self._words)
        writer = index.writer(heap_size=_MEMORY, num_threads=1)  # one: documents keep their order
        for one in documents:
            writer.add_document(tantivy.Document(id=one.id, title=one.title, text=one.text))
        writer.commit()
        writer.wait_merging_threads()

    def load(self, place: Path) -> None:
        """Open it. Raises CorpusError."""
        self._place = place
        try:
            index = tantivy.Index.open(str(place))
            index.register_tokenizer("english", self._words)
            index.reload()
            self._searcher = index.searcher()
            self.best(["a"], 1)
        except (ValueError, OSError) as error:
            raise CorpusError(f"{place}: damaged ({error}); remove it, and it is made again") from None

    def best(self, query: Sequence[str], n: int) -> list[tuple[float, str]]:
        """Scores and ids. Raises CorpusError."""
        assert self._searcher is not None
        stems = dict.fromkeys(stem for word in query for stem in self._words.analyze(word))
        parts = []
        for stem in stems:
            in_text = tantivy.Query.term_query(self._schema, "text", stem)
            in_title = tantivy.Query.boost_query(tantivy.Query.term_query(self._schema, "title", stem), _TITLE)
            parts += [(tantivy.Occur.Should, in_text), (tantivy.Occur.Should, in_title)]
        if not parts:
            return []
        try:
            hits = self._searcher.search(tantivy.Query.boolean_query(parts), n + _MORE).hits
            found = [(float(score), str(self._searcher.doc(at)["id"][0])) for score, at in hits]
        except (ValueError, OSError) as error:
            raise CorpusError(f"{self._place}: damaged ({error}); remove it, and it is made again") from None
        return sorted(found, key=lambda one: (-round(one[0], 5), one[1]))[:n]

    def close(self) -> None:
        """Let go of its files."""
        self._searcher = None
