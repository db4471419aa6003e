"""The file of trajectories: a line each, so that a rollout that was stopped goes on where it was."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from envfarm.orchestrator.rollout.attempt import Trajectory
from envfarm.toolbox.errors import BadRequest, StorageError


class Ledger:
    """Trajectories by task and attempt; of several lines of one attempt the last counts."""

    def __init__(self, path: Path, model: str) -> None:
        self.path = path
        self.known: dict[tuple[str, int], Trajectory] = {}
        self._read(model)

    def left(self, task: str, attempts: int) -> list[int]:
        """The attempts at a task that have no reward yet: a failure of the farm or the endpoint is played again."""
        return [n for n in range(attempts) if (task, n) not in self.known or self.known[task, n].value is None]

    def add(self, one: Trajectory) -> None:
        """Keep a trajectory, durably. Raises StorageError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(one.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"{self.path}: cannot be written ({error.strerror}); make room, or name another"
            ) from None
        self.known[one.task, one.attempt] = one

    def _read(self, model: str) -> None:
        """Raises BadRequest: another model's, or no such file's lines."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise BadRequest(f"{self.path}: cannot be read ({error.strerror}); name another with --out") from None
        whole, _, half = data.rpartition(b"\n")
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                one = Trajectory.model_validate_json(line)
            except ValidationError:
                raise BadRequest(f"{self.path}, line {number}: no trajectory; name another file with --out") from None
            if one.model != model:
                raise BadRequest(
                    f"{self.path} holds attempts of {one.model!r}, not of {model!r}; name another with --out"
                )
            self.known[one.task, one.attempt] = one
        if half:  # written when it was stopped
            with self.path.open("ab") as file:
                file.truncate(len(data) - len(half))
