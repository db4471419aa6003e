"""Writes questions as task folders of kind `search`, with a list of them beside; whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from envfarm.tasks.search.question import FILE, Question
from envfarm.toolbox.errors import BadRequest, StorageError

LIST = "questions.jsonl"
TOOLS = ("search", "open", "find")
_INSTRUCTION = """\
{question}

Answer from the corpus that `search`, `open` and `find` reach{proved}, whatever may be true
elsewhere. Finish with the answer alone, as the corpus writes it.
"""
_PROVED = ": there is exactly one answer in it"  # of a formal query, on the whole corpus


def write(out: Path, questions: Sequence[Question], tools: Sequence[str] = TOOLS) -> list[Path]:
    """Write a folder for each question into a new or empty folder. Raises BadRequest, StorageError."""
    named = {f"question-{number:04}": one for number, one in enumerate(questions, 1)}
    with new_folder(out) as work:
        for name, question in named.items():
            folder(work / name, question, tools)
        write_list(work, ({"task": name, **_plain(one)} for name, one in named.items()))
    return [out / name for name in named]


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` when nothing fails. Raises BadRequest, StorageError."""
    check_new(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".questions-", dir=out.parent))
        try:
            work.chmod(0o755)
            yield work
            work.rename(out)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{out}: the questions cannot be written ({error.strerror or error})") from None


def write_list(folder: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a folder's list of questions, a line of JSON each."""
    (folder / LIST).write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))


def check_new(out: Path) -> None:
    """See that nothing is where questions are to be written. Raises BadRequest."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadRequest(f"{out}: not an empty folder; name another, or remove it")


def folder(path: Path, question: Question, tools: Sequence[str] = TOOLS) -> None:
    """Write one task folder."""
    path.mkdir(parents=True)
    toml = (
        '[task]\nkeywords = ["search"]\n\n'
        '[envfarm]\nkind = "search"\n\n'
        f"[envfarm.search]\ncorpus = {json.dumps(question.corpus)}\ntools = {json.dumps(list(tools))}\n"
    )
    (path / "task.toml").write_text(toml)
    (path / "instruction.md").write_text(
        _INSTRUCTION.format(question=question.question.strip(), proved=_PROVED if question.query else "")
    )
    (path / FILE).write_text(json.dumps(_plain(question), ensure_ascii=False, indent=1) + "\n")


def _plain(question: Question) -> dict[str, object]:
    return question.model_dump(mode="json")
