"""The recording of a live source: what each request was answered, once and for all, so that episodes can be replayed.

DATA/live/NAME/entries/ab/ab12….json   a request, when it was made and what came of it, by the request's digest
DATA/live/NAME/bodies/                 the bytes of the answers, by their digest
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import BadRequest, StorageError
from envfarm.toolbox.search.errors import CorpusError
from envfarm.toolbox.whole import write_all, write_whole

What = Literal["search", "page", "robots"]


class Outcome(BaseModel):
    """What came of a request: an answer with a body, or a reason why there is none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = ""  # of the answer, after redirects
    status: int | None = None
    type: str = ""
    charset: str | None = None
    body: bytes = Field(b"", exclude=True)
    refused: str | None = None  # for the model
    passing: bool = False  # whether it may be another way soon: recorded, and asked for again while recording


class Entry(BaseModel):
    """An outcome as it is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: What
    request: str
    at: float  # seconds since 1970
    outcome: Outcome
    digest: str


class Recording:
    """A folder of entries. Raises CorpusError: it is not there, or damaged."""

    def __init__(self, folder: Path, *, new: bool) -> None:
        self._entries, self._bodies = folder / "entries", Artifacts(folder / "bodies")
        try:
            if new:
                self._entries.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be made ({error.strerror})") from None
        if not self._entries.is_dir():
            raise CorpusError(f"{folder}: no such recording; copy it there, or make one with live.mode record")

    def get(self, what: What, request: str) -> Outcome | None:
        """What came of a request; None where it was not made. Raises CorpusError."""
        place = self._place(what, request)
        try:
            entry = Entry.model_validate_json(place.read_bytes())
            body = self._bodies.get(entry.digest)
        except FileNotFoundError:
            return None
        except (ValidationError, BadRequest):
            raise CorpusError(f"{place}: damaged, or its body is missing; remove it") from None
        except OSError as error:
            raise CorpusError(f"{place}: cannot be read ({error.strerror})") from None
        if (entry.what, entry.request) != (what, request):
            raise CorpusError(f"{place}: is of another request; remove it")
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != entry.digest:
            raise CorpusError(f"{place}: its body was changed; remove it")
        return entry.outcome.model_copy(update={"body": body})

    def put(self, what: What, request: str, outcome: Outcome) -> None:
        """Keep what came of a request. Raises StorageError."""
        digest = self._bodies.put(outcome.body)
        entry = Entry(what=what, request=request, at=time.time(), outcome=outcome, digest=digest)
        place, data = self._place(what, request), entry.model_dump_json(indent=1).encode()
        try:
            place.parent.mkdir(exist_ok=True)
            write_whole(place, lambda fd: write_all(fd, data))
        except OSError as error:
            raise StorageError(f"{place}: cannot be written ({error.strerror}): make room or mend it") from None

    def _place(self, what: What, request: str) -> Path:
        name = hashlib.sha256(f"{what} {request}".encode("utf-8", "surrogatepass")).hexdigest()
        return self._entries / name[:2] / f"{name}.json"
