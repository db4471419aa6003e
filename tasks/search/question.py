"""What is known about a question: `question.json` in its task folder. It holds the answer; no sandbox ever sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from envfarm.toolbox.errors import TaskError
from envfarm.toolbox.explain import explain

FILE = "question.json"
AnswerKind = Literal["text", "number", "date", "quantity"]


class Evidence(BaseModel):
    """One fact that the answer needs, and where the corpus says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    doc: str  # the id of a document
    span: str  # these words stand in its text
    triple: tuple[str, str, str] | None = None  # subject, relation, object; none in imported sets


class Question(BaseModel):
    """A question with its answer and everything that lets somebody check it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    aliases: tuple[str, ...] = ()  # what counts as the answer, too
    kind: AnswerKind = "text"
    unit: str | None = None  # of a quantity
    gold: tuple[str, ...] = ()  # ids of the documents that the answer needs, the one of the answer first
    evidence: tuple[Evidence, ...] = ()
    query: dict[str, Any] = {}  # the formal query (envfarm.tasks.search.query); empty in imported sets
    difficulty: dict[str, float] = {}  # `total` and its parts
    corpus: str  # version of the corpus: sha256:…
    seed: str = ""  # makes the same question of the same corpus
    source: str = "envfarm"  # or the public set, and the id in it


def load(path: Path) -> Question:
    """Read a task folder's `question.json`. Raises TaskError, which names the file and the field."""
    file = path / FILE
    try:
        return Question.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise TaskError(f"{file}: missing; a task of kind search needs it") from None
    except OSError as error:
        raise TaskError(f"{file}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise TaskError(f"{file}: {explain(error, Question)}") from None
