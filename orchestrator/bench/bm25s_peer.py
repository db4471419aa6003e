"""Times bm25s. Runs in a virtual environment that has it, not in ours: `python bm25s_peer.py DOCUMENTS QUERIES TOP`.

Prints one JSON object: `figures` by name, and `times`, lists of seconds for each kind of query.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def own_memory() -> float:
    """MiB that this process holds beside the files it reads."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) / 1024


def measure(documents: Path, queries: Path, top: int) -> dict[str, dict[str, object]]:
    """Index the documents, and ask each query alone."""
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    before = own_memory()
    begin = time.perf_counter()
    texts = [f"{one['title']} {one['text']}" for one in map(json.loads, documents.open())]
    count = len(texts)
    tokens = bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
    index = bm25s.BM25(k1=1.2, b=0.75)
    index.index(tokens, show_progress=False)
    figures: dict[str, object] = {"documents indexed": count / (time.perf_counter() - begin)}
    del texts, tokens
    times: dict[str, object] = {}
    for kind, asked in json.loads(queries.read_text()).items():
        taken = []
        for text in asked:
            begin = time.perf_counter()
            words = bm25s.tokenize([text], stopwords="en", stemmer=stemmer, show_progress=False)
            index.retrieve(words, k=top, show_progress=False)
            taken.append(time.perf_counter() - begin)
        times[kind] = taken
    figures["memory beside the files"] = own_memory() - before
    return {"figures": figures, "times": times}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
