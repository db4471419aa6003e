"""Verdicts kept in a folder, by the digest of everything that they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from envfarm.envs.judge.prompt import VERSION, Frame
from envfarm.envs.judge.verdict import Verdict
from envfarm.tasks.rubric import Rubric
from envfarm.toolbox.errors import StorageError
from envfarm.toolbox.whole import write_all, write_whole


def key_of(rubric: Rubric, request: str, frames: Sequence[Frame], text: str | None, *, model: str, votes: int) -> str:
    """The digest of a question: frames, rubric, request, text, model, version of the prompt, number of votes."""
    question = {
        "rubric": [leaf.model_dump() for leaf in rubric.leaves],
        "request": request,
        "frames": [[frame.number, frame.time, frame.why, frame.digest] for frame in frames],
        "text": text,
        "model": model,
        "prompt": VERSION,
        "votes": votes,
    }
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


class Cache:
    """A folder of verdicts, safe to share between processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Verdict | None:
        """The verdict of a question, None where there is none that can be read."""
        try:
            found = Verdict.model_validate_json(self._place(key).read_bytes())
        except (OSError, ValidationError):
            return None
        return found.model_copy(update={"cached": True})

    def put(self, key: str, verdict: Verdict) -> None:
        """Keep a verdict. Raises StorageError."""
        place = self._place(key)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, lambda fd: write_all(fd, verdict.model_dump_json().encode()))
        except OSError as error:
            raise StorageError(f"{self.folder} takes no file ({error.strerror}): make room or mend it") from None

    def _place(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
