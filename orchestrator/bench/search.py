"""Search over 100,000 documents: tantivy as agents are served by it, against SQLite's FTS5 and bm25s from PyPI."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from envfarm.orchestrator.bench.bm25s_peer import own_memory
from envfarm.orchestrator.bench.peers import command, environment
from envfarm.orchestrator.bench.report import Better, Row, percentile, row, timed
from envfarm.toolbox.search import debian
from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import build
from envfarm.toolbox.search.corpus import DOCUMENTS, Corpus, Source
from envfarm.toolbox.search.index import Kind, open_index
from envfarm.toolbox.search.words import STOP_WORDS, words

BM25S, STEMMER = "0.3.16", "3.1.0"
_DOCUMENTS = 100_000
_WORDS = 300  # of a generated document
_AT_ONCE = 64
_TOP = 5
_QUESTION = "which {} that is {} by the {} and was {} in a {} has the {} for {} with {}"
Queries = Mapping[str, Sequence[str]]
Figures = dict[str, float]


async def measure(rounds: int, cache: Path) -> list[Row]:
    """Times in milliseconds, of a whole search with documents and snippets; those of bm25s are of bare ids."""
    with tempfile.TemporaryDirectory(prefix="envfarm-bench-") as name:
        folder = Path(name)
        await asyncio.to_thread(build, [(Source(name="bench"), _documents())], folder)
        with Corpus.open(folder) as corpus:
            queries = _queries(corpus, rounds)
            names = random.Random(3).sample([one.id for one in corpus], 1000)
        ours = await _served(folder, "tantivy", queries, names)
        fts = await _served(folder, "fts", queries, names)
        peer = await _bm25s(folder, queries, cache)
    rows = []
    for figure, unit in _UNITS.items():
        shown = [(fts, "SQLite FTS5"), (peer, f"bm25s {BM25S}")]
        better: Better = "higher" if unit == "1/s" else "lower"
        beside = [(other[figure], said) for other, said in shown if figure in other and figure != _OPEN]
        if not beside:
            rows.append(row(f"search: {figure}", unit, ours[figure], None, None))
        for value, said in beside:
            rows.append(row(f"search: {figure}", unit, ours[figure], value, said, better=better))
    return rows


_KINDS = ("5 rare words", "5 middling words", "a question of 18 words")
_OPEN = "a document by its id, p99"  # the index has no part in it
_UNITS = {
    **{f"{kind}, {part}": "ms" for kind in _KINDS for part in ("p50", "p99")},
    f"{_AT_ONCE} questions at once, p99": "ms",
    f"{_AT_ONCE} questions at once": "1/s",
    _OPEN: "ms",
    "documents indexed": "1/s",
    "memory beside the files": "MiB",
}


def _documents() -> Iterator[Document]:
    """Debian's archive, and made-up documents of its words, each as frequent as Zipf has it."""
    seen: Counter[str] = Counter()
    count = 0
    for one in debian.documents(debian.available()):
        seen.update(words(one.text))
        count += 1
        yield one
    chance = random.Random(1)
    known = [word for word, _ in seen.most_common(50_000)]
    weights = [1 / rank for rank in range(1, len(known) + 1)]
    for number in range(count, _DOCUMENTS):
        text = " ".join(chance.choices(known, weights, k=_WORDS))
        yield Document(id=f"made/{number:06}", title=f"made {number}", text=text)


def _queries(corpus: Corpus, rounds: int) -> Queries:
    found: Counter[str] = Counter()
    for one in corpus:
        found.update({word for word in words(one.text) if word.isalpha() and word not in STOP_WORDS})
    rare = sorted(word for word, n in found.items() if 2 <= n <= 10)
    middling = sorted(word for word, n in found.items() if len(corpus) / 200 <= n <= len(corpus) / 50)
    common = sorted(word for word, n in found.items() if n > len(corpus) / 100)
    chance = random.Random(2)
    return {
        _KINDS[0]: [" ".join(chance.choices(rare, k=5)) for _ in range(rounds)],
        _KINDS[1]: [" ".join(chance.choices(middling, k=5)) for _ in range(rounds)],
        _KINDS[2]: [_QUESTION.format(*chance.choices(common, k=8)) for _ in range(rounds)],
    }


async def _served(folder: Path, kind: Kind, queries: Queries, names: Sequence[str]) -> Figures:
    before = own_memory()
    begin = time.perf_counter()
    index = await asyncio.to_thread(open_index, Corpus.open(folder), kind)
    figures = {"documents indexed": len(index.corpus) / (time.perf_counter() - begin)}
    try:
        for said, texts in queries.items():
            figures |= _spread(said, [await timed(index.search(text, _TOP)) for text in texts])
        texts = list(queries[_KINDS[2]])
        together = f"{_AT_ONCE} questions at once"
        begin = time.perf_counter()
        waves = [texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE)]
        times = [
            one for wave in waves for one in await asyncio.gather(*(timed(index.search(text, _TOP)) for text in wave))
        ]
        figures |= {together: len(texts) / (time.perf_counter() - begin), f"{together}, p99": percentile(times, 99)}
        times = [await timed(index.document(name)) for name in names]
        figures |= {_OPEN: percentile(times, 99), "memory beside the files": own_memory() - before}
    finally:
        await index.close()
    return figures


def _spread(said: str, times: Sequence[float]) -> Figures:
    return {f"{said}, p50": percentile(times, 50), f"{said}, p99": percentile(times, 99)}


async def _bm25s(folder: Path, queries: Queries, cache: Path) -> Figures:
    python = await environment(cache / f"bm25s-{BM25S}", f"bm25s=={BM25S}", f"PyStemmer=={STEMMER}")
    asked = folder / "queries.json"
    asked.write_text(json.dumps(dict(queries)))
    script = str(Path(__file__).with_name("bm25s_peer.py"))
    lines = str((folder / "current" / DOCUMENTS).resolve())
    told = json.loads(await command(str(python), script, lines, str(asked), str(_TOP)))
    figures: Figures = told["figures"]
    for said, times in told["times"].items():
        figures |= _spread(said, times)
    return figures
