"""Reads published question sets as they are: each question with its answers, and the documents that come with it.

| set | files | read as in |
|---|---|---|
| `hotpotqa` | one JSON list | hotpotqa.github.io, `hotpot_dev_distractor_v1.json`, `hotpot_dev_fullwiki_v1.json` |
| `2wikimultihop` | one JSON list | Alab-NII/2wikimultihop, `data_ids_april7` |
| `musique` | JSON lines | stonybrooknlp/musique, `musique_ans_v1.0_*.jsonl`, `musique_full_v1.0_*.jsonl` |
| `browsecomp-plus` | JSON lines | texttron/BrowseComp-Plus, what `decrypt_dataset.py` writes |
| `search-r1` | JSON lines | PeterGriffinJin/Search-R1's rows, or FlashRAG's: NQ, TriviaQA, PopQA and more |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from envfarm.tasks.search.question import Evidence
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.explain import explain
from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.unpack import unpacked

_CIPHER = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")  # how their encrypted rows look: base64 without a space
_ASKS = re.compile(r"Question:\s*(.+?)\s*$", re.DOTALL)  # the end of Search-R1's prompt


@dataclass(frozen=True, slots=True)
class Published:
    """A question of a set."""

    id: str
    question: str
    answers: tuple[str, ...]  # the first is the answer, the others count as it; none: it is said to have no answer
    documents: tuple[Document, ...] = ()  # what the set gives with it, what leads nowhere too
    gold: tuple[Document, ...] = ()  # those of them that the answer needs, the one of the answer first
    evidence: tuple[Evidence, ...] = ()


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Hotpot(_Row):
    """A row of HotpotQA, and of 2WikiMultihop, which took over its form."""

    id: str = Field(alias="_id")
    question: str
    answer: str
    supporting_facts: list[tuple[str, int]]  # title, number of the sentence
    context: list[tuple[str, list[str]]]  # title, sentences

    def read(self) -> Published:
        pages = {title: _passage(title, _joined(sentences)) for title, sentences in self.context}
        sentences = dict(self.context)
        quoted = [
            (title, sentences[title][at].strip())
            for title, at in self.supporting_facts
            if title in sentences and 0 <= at < len(sentences[title])  # a few rows name sentences that there are not
        ]
        evidence = tuple(Evidence(doc=pages[title].id, span=span) for title, span in quoted if span)
        needed = dict.fromkeys(title for title, _ in self.supporting_facts if title in pages)
        # The last hop's page mostly is the answer's: what is quoted with the answer in it goes first.
        gold = sorted(needed, key=lambda title: self.answer not in pages[title].text)
        return Published(
            self.id, self.question, (self.answer,), tuple(pages.values()), tuple(pages[one] for one in gold), evidence
        )


class _Paragraph(_Row):
    idx: int
    title: str
    paragraph_text: str
    is_supporting: bool = False


class _Hop(_Row):
    paragraph_support_idx: int | None = None


class _Musique(_Row):
    id: str
    question: str
    answer: str = ""
    answer_aliases: list[str] = []
    answerable: bool = True
    paragraphs: list[_Paragraph]
    question_decomposition: list[_Hop] = []

    def read(self) -> Published:
        pages = {one.idx: _passage(one.title, one.paragraph_text) for one in self.paragraphs}
        hops = [one.paragraph_support_idx for one in reversed(self.question_decomposition)]
        needed = [*hops, *(one.idx for one in self.paragraphs if one.is_supporting)]
        gold = dict.fromkeys(at for at in needed if at in pages)
        answers = (self.answer, *self.answer_aliases) if self.answerable else ()
        return Published(
            self.id, self.question, answers, tuple(pages.values()), tuple(pages[at] for at in gold if at is not None)
        )


class _Page(_Row):
    docid: Annotated[str, BeforeValidator(str)]
    text: str
    url: str = ""

    def document(self) -> Document:
        title = re.search(r"^title:\s*(.+)$", self.text[:500], re.MULTILINE)  # of the head that their pages have
        first = title.group(1) if title else next((row for row in self.text.splitlines() if row.strip()), "")
        return Document(id=self.docid, title=first.strip()[:200], text=self.text, url=self.url)


class _BrowseComp(_Row):
    query_id: Annotated[str, BeforeValidator(str)]
    query: str
    answer: str
    gold_docs: list[_Page] = []
    evidence_docs: list[_Page] = []
    negative_docs: list[_Page] = []

    def read(self) -> Published:
        if _CIPHER.fullmatch(self.query):
            raise ValueError("query: it is encrypted; read what their scripts_build_index/decrypt_dataset.py writes")
        gold = {one.docid: one.document() for one in (*self.gold_docs, *self.evidence_docs)}
        others = {one.docid: one.document() for one in self.negative_docs}
        documents = tuple((others | gold).values())
        return Published(self.query_id, self.query, (self.answer,), documents, tuple(gold.values()))


class _SearchR1(_Row):
    """A row of Search-R1 (verl's form), or one of FlashRAG."""

    id: str = ""
    question: str = ""
    golden_answers: list[str] = []
    data_source: str = ""
    prompt: list[dict[str, str]] = []
    reward_model: dict[str, Any] = {}
    extra_info: dict[str, Any] = {}

    def read(self) -> Published:
        question, answers = self.question, self.golden_answers
        if not question and self.prompt:
            asked = _ASKS.search(self.prompt[-1].get("content", ""))
            if asked is None:
                raise ValueError("prompt: it does not end with `Question: …`")
            question = asked.group(1)
        truth = self.reward_model.get("ground_truth") or {}
        if not answers:
            target = truth.get("target", []) if isinstance(truth, dict) else truth
            answers = [target] if isinstance(target, str) else [str(one) for one in target]
        parts = (self.data_source, self.extra_info.get("split"), self.extra_info.get("index"))
        name = self.id or "/".join(str(one) for one in parts if one not in (None, ""))
        return Published(name, question, tuple(answers))


_ROWS: dict[str, type[_Hotpot | _Musique | _BrowseComp | _SearchR1]] = {
    "hotpotqa": _Hotpot,
    "2wikimultihop": _Hotpot,
    "musique": _Musique,
    "browsecomp-plus": _BrowseComp,
    "search-r1": _SearchR1,
}
SETS = tuple(_ROWS)
"""The names of the sets."""


def read(name: str, path: Path) -> Iterator[Published]:
    """The questions of a file of a set, in their order; `.gz` and `.bz2` are unpacked. Raises BadRequest."""
    kind = _ROWS.get(name)
    if kind is None:
        raise BadRequest(f"set: there is no {name!r}; there are {', '.join(SETS)}")
    for place, row in _rows(path):
        try:
            found = kind.model_validate(row).read()
        except ValidationError as error:
            raise BadRequest(f"{place}: no row of {name}: {explain(error, kind)}") from None
        except ValueError as error:
            raise BadRequest(f"{place}: no row of {name}: {error}") from None
        if not found.question.strip():
            raise BadRequest(f"{place}: no row of {name}: question: it is empty")
        yield found


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Each row and where it stands: of one JSON list, or of JSON lines."""
    try:
        with unpacked(path) as file:
            head = file.read(4)
            if head == b"PAR1":
                raise BadRequest(f"{path}: Parquet; write it as JSON lines first (docs/questions.md says how)")
            file.seek(0)
            if head.lstrip().startswith(b"["):
                for number, row in enumerate(orjson.loads(file.read())):
                    yield f"{path}[{number}]", row
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}:{number}", orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"{path}: not JSON: {error}") from None
    except OSError as error:
        raise BadRequest(f"{path}: cannot be read: {error.strerror or error}") from None


def _passage(title: str, text: str) -> Document:
    """A paragraph as a document. Its id tells it from others of its title, wherever the set has it."""
    digest = hashlib.sha256(f"{title}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return Document(id=f"{title} #{digest[:8]}", title=title, text=text)


def _joined(sentences: list[str]) -> str:
    """Sentences as one text: HotpotQA's begin with the space between them, 2WikiMultihop's do not."""
    text = ""
    for one in sentences:
        text += one if not text or one[:1].isspace() or text[-1].isspace() else f" {one}"
    return text.strip()
